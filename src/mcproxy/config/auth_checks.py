"""The rules of ``auth`` that span sections: one secret each, its own, for what exists. Pure."""

from collections import Counter
from collections.abc import Collection, Hashable, Iterator, Sequence

from mcproxy.config.auth import TokenConfig
from mcproxy.config.faults import unknown
from mcproxy.config.inherit import all_namespaces
from mcproxy.config.model import ANONYMOUS, ANY, Config
from mcproxy.config.paths import Steps, written
from mcproxy.errors import Problem


def tokens(config: Config, _: Collection[str]) -> Iterator[Problem]:
    """The problems of ``auth.tokens``."""
    listed = config.auth.tokens
    for index, token in enumerate(listed):
        place = ("auth", "tokens", index)
        yield from _one_secret(written(place), token)
        yield from _known(config, (*place, "namespaces"), token.namespaces)
        if token.name == ANONYMOUS:
            path = written((*place, "name"))
            yield Problem(path, f"{ANONYMOUS!r} stands for callers without a token", "rename it")
    yield from _twice(["name"] * len(listed), [token.name for token in listed])
    # A token and the hash of the same one are twice the same.
    keys = ["token" if token.token else "sha256" for token in listed]
    held = [token.digest if token.token or token.sha256 else object() for token in listed]
    yield from _twice(keys, held)


def _one_secret(path: str, token: TokenConfig) -> Iterator[Problem]:
    if token.token and token.sha256:
        yield Problem(path, "has both 'token' and 'sha256'", "keep one of the two")
    elif not token.token and not token.sha256:
        hint = "'token' is the secret itself, 'sha256' its hash"
        yield Problem(path, "has neither 'token' nor 'sha256'", hint)


def _known(config: Config, steps: Steps, names: Sequence[str]) -> Iterator[Problem]:
    known = all_namespaces(config)
    for index, name in enumerate(names):
        if name != ANY and name not in known:
            yield unknown(written((*steps, index)), "namespace", name, known)


def _twice(keys: Sequence[str], values: Sequence[Hashable]) -> Iterator[Problem]:
    for value, count in Counter(values).items():
        if count > 1:
            first = values.index(value)
            again = values.index(value, first + 1)
            path = written(("auth", "tokens", again, keys[again]))
            yield Problem(path, f"is the same as in auth.tokens[{first}]", "each must be its own")
