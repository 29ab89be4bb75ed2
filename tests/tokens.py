"""How many tokens a text costs a model."""

import functools
import warnings
from collections.abc import Callable


def count(text: str, encoding: str = "o200k_base") -> int:
    """The number of tokens in an encoding of the field: ``o200k_base`` or ``cl100k_base``."""
    return len(_encoder(encoding)(text))


@functools.cache
def _encoder(encoding: str) -> Callable[[str], list[int]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of the package, at import
        import bpe_openai  # type: ignore[import-untyped]  # noqa: PLC0415
    encode: Callable[[str], list[int]] = bpe_openai.get_encoding(encoding).encode
    return encode
