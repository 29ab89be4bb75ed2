"""Variables added to a ``.env`` as a block with a title, by which they can be taken out. Pure.

So no copy of the file is needed, which would have the same secrets under a name that nobody
protects. The quoting is the one that python-dotenv reads.
"""

from collections.abc import Mapping

_BEGIN, _END = "# >>> ", "# <<< "


def with_block(text: str, title: str, variables: Mapping[str, str]) -> str:
    """The text with a block of variables at its end."""
    before = text if not text or text.endswith("\n") else f"{text}\n"
    lines = [f"{name}={_quoted(value)}\n" for name, value in variables.items()]
    return f"{before}{_BEGIN}{title}\n{''.join(lines)}{_END}{title}\n"


def without_block(text: str, title: str) -> str:
    """The text without the block of this title; as it is where there is none."""
    begin, end = f"{_BEGIN}{title}\n", f"{_END}{title}\n"
    start = text.find(begin)
    stop = text.find(end, start)
    if start < 0 or stop < 0:
        return text
    return text[:start] + text[stop + len(end) :]


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
