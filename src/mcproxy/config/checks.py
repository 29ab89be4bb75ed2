"""Rules that span sections: names that must exist, cycles, what excludes what. Pure.

Each rule is a function from the configuration to its problems, and ``RULES`` is all of them. What
is only odd, and runs, is in ``config_warnings``.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from typing import TypeAlias

from mcproxy.config.auth import TokenConfig
from mcproxy.config.hosts import is_http_url
from mcproxy.config.inherit import all_namespaces, cycles, parents
from mcproxy.config.jsonc import Steps, written
from mcproxy.config.model import ANONYMOUS, ANY, Config, ServerConfig
from mcproxy.config.validation_messages import unknown
from mcproxy.errors import Problem
from mcproxy.types import LEVELS

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


Rule: TypeAlias = Callable[[Config, Collection[str]], Iterator[Problem]]

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2: token


def problems(config: Config, unconfigured: Collection[str]) -> Iterator[Problem]:
    """All problems; an ``unconfigured`` server lacks parts, which is not held against it."""
    for rule in RULES:
        yield from rule(config, unconfigured)


def _servers(config: Config, unconfigured: Collection[str]) -> Iterator[Problem]:
    for name, server in config.servers.items():
        if name not in unconfigured:
            yield from _one_way_to_reach(written(("servers", name)), server)
        yield from _environment(name, server)
        yield from _headers(name, server)


def _one_way_to_reach(path: str, server: ServerConfig) -> Iterator[Problem]:
    ways = {"command": server.command, "url": server.url, "openapi": server.openapi}
    given = [repr(key) for key, value in ways.items() if value]
    if len(given) > 1:
        yield Problem(path, f"has both {' and '.join(given)}", "keep one of them")
    elif not given:
        yield Problem(
            path,
            "has neither 'command' nor 'url' nor 'openapi'",
            "'command' runs a program, 'url' connects to a remote server, 'openapi' makes tools of "
            "an HTTP API's description",
        )
    for key, url in (("url", server.url), ("base_url", server.base_url)):
        if url and not is_http_url(url):
            yield Problem(f"{path}.{key}", "is not an http(s) URL", "write https://host/path")


def _environment(name: str, server: ServerConfig) -> Iterator[Problem]:
    for variable, value in server.env.items():
        path = written(("servers", name, "env", variable))
        if not variable or "=" in variable or "\0" in variable:
            yield Problem(path, "is not a name for a variable", "it must not contain '='")
        if "\0" in value:
            yield Problem(path, "contains a NUL character", "no process can be given that")


def _headers(name: str, server: ServerConfig) -> Iterator[Problem]:
    for header in server.headers:
        if not _HEADER_NAME.fullmatch(header):
            path = written(("servers", name, "headers", header))
            yield Problem(path, "is not a name for an HTTP header")
    for key, values in (("headers", server.headers), ("credentials", server.credentials)):
        for each, value in values.items():
            if any(character in value for character in "\r\n\0"):
                path = written(("servers", name, key, each))
                yield Problem(path, "contains a line break", "a header is a single line")


def _known_servers(config: Config, _: Collection[str]) -> Iterator[Problem]:
    for name, section in config.namespaces.items():
        for index, server in enumerate(section.servers):
            if server not in config.servers:
                path = written(("namespaces", name, "servers", index))
                yield unknown(path, "server", server, config.servers)


def _known_namespaces(config: Config, _: Collection[str]) -> Iterator[Problem]:
    known = all_namespaces(config)
    for name, server in config.servers.items():
        if server.namespace is not None and server.namespace not in known:
            path = written(("servers", name, "namespace"))
            yield unknown(path, "namespace", server.namespace, known)
    for name, section in config.namespaces.items():
        for index, parent in enumerate(section.extends):
            if parent not in known:
                steps = ("namespaces", name, "extends", index)
                path = written(steps if len(section.extends) > 1 else steps[:-1])
                yield unknown(path, "namespace", parent, known)


def _acyclic(config: Config, _: Collection[str]) -> Iterator[Problem]:
    for cycle in cycles(parents(config)):
        yield Problem(
            written(("namespaces", cycle[0], "extends")),
            f"is a cycle: {' → '.join(cycle)}",
            "a namespace cannot extend itself, not even through others",
        )


def _groups(config: Config, _: Collection[str]) -> Iterator[Problem]:
    known = all_namespaces(config)
    for name, group in config.groups.items():
        if name in known:
            yield Problem(
                written(("groups", name)),
                "has the name of a namespace",
                "both would be endpoints under that name; rename one",
            )
        if not group.namespaces:
            yield Problem(written(("groups", name, "namespaces")), "must not be empty")
        for index, member in enumerate(group.namespaces):
            path = written(("groups", name, "namespaces", index))
            section = known.get(member.removeprefix("!"))
            if section is None:
                yield unknown(path, "namespace", member.removeprefix("!"), known)
            elif section.isolated and not member.startswith("!"):
                yield Problem(
                    path, f"namespace {member!r} is isolated", f"write '!{member}' to include it"
                )


def _levels(config: Config, _: Collection[str]) -> Iterator[Problem]:
    level, least = config.sandbox.level, config.sandbox.min_level
    if level != "auto" and LEVELS.index(level) > LEVELS.index(least):
        yield Problem(
            "sandbox.level",
            f"{level!r} is below min_level {least!r}",
            f'set "min_level": "{level}" if scripts may run with so little protection',
        )


RULES: tuple[Rule, ...] = (
    _servers,
    _known_servers,
    _known_namespaces,
    _acyclic,
    _groups,
    tokens,
    jwt,
    _levels,
)
