"""The rules of ``auth`` that span sections: one secret each, its own, for what exists. Pure."""

import re
from collections import Counter
from collections.abc import Collection, Hashable, Iterator, Sequence

from mcproxy.config.auth import TokenConfig
from mcproxy.config.hosts import is_http_url
from mcproxy.config.inherit import all_namespaces
from mcproxy.config.model import ANONYMOUS, ANY, Config
from mcproxy.config.paths import Steps, written
from mcproxy.config.validation_messages import unknown
from mcproxy.errors import Problem

# RFC 6749, section 3.3: scope-token.
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")


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


def jwt(config: Config, _: Collection[str]) -> Iterator[Problem]:
    """The problems of ``auth.jwt``."""
    rules = config.auth.jwt
    if rules is None:
        return
    for key in ("issuer", "jwks_url", "resource"):
        yield from _url(f"auth.jwt.{key}", getattr(rules, key), query=key == "jwks_url")
    for key in ("audience", "algorithms"):
        if not getattr(rules, key):
            yield Problem(f"auth.jwt.{key}", "must not be empty")
    yield from _known(config, ("auth", "jwt", "namespaces"), rules.namespaces)
    for scope, names in rules.scopes.items():
        place = ("auth", "jwt", "scopes", scope)
        if not _SCOPE.fullmatch(scope):
            hint = "a scope has no spaces, quotes or backslashes; write each with its own list"
            yield Problem(written(place), "is not a scope", hint)
        yield from _known(config, place, names)


def _url(path: str, url: str | None, *, query: bool) -> Iterator[Problem]:
    if url is None:
        return
    if not is_http_url(url):
        yield Problem(path, "is not an http(s) URL", "write https://host/path")
    elif "#" in url or ("?" in url and not query):
        # RFC 8414, section 2, and RFC 9728, section 1.2
        yield Problem(path, "has a query or a fragment", "end it with its path")


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
