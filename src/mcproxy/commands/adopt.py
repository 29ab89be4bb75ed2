"""Makes the servers of other clients ours: their keys, their secrets, those that are there. Pure.

Secrets move into variables; a server that is there already, that is this gateway itself, or that
cannot run, is left out with the reason.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import msgspec

from mcproxy.commands.clients import Entry, variable_name
from mcproxy.config.interpolate import fill
from mcproxy.config.jsonc import Steps, written
from mcproxy.config.migrate import migrate
from mcproxy.config.model import ServerConfig
from mcproxy.config.validate import validate
from mcproxy.observe.secret_shapes import Plaintext, plaintexts
from mcproxy.types import Json, JsonObject

_RENAMED = {
    "serverUrl": "url",
    "httpUrl": "url",
    "environment": "env",
    "http_headers": "headers",
    "tool_timeout_sec": "timeout_secs",
}
_REMOTE_TYPES = ("http", "sse", "streamable-http", "streamable_http", "streamableHttp")
_KNOWN = (*ServerConfig.model_fields, "disabled", "type")
# What a client has for itself, and nobody misses.
_UNSAID = ("type", "alwaysAllow", "autoApprove", "startup_timeout_sec", "timeout", "gallery")
_GATEWAY = re.compile(
    r"(?:.*[/\\])?mcproxy(?:-gateway)?(?:@[\w.]+|\[[\w,]+\])?(?:\.exe|\.cli|[/\\]main\.py)?"
    r"|https?://(?:localhost|127\.0\.0\.1|\[::1\]):12010(?:/.*)?"
)

Identity: TypeAlias = tuple[Json, ...]


class Added(msgspec.Struct, frozen=True):
    """A server that can be added; ``moved`` says which place now has which variable."""

    name: str
    definition: JsonObject
    origin: Entry
    moved: Mapping[str, str]
    dropped: tuple[str, ...] = ()


class LeftOut(msgspec.Struct, frozen=True):
    """A server that is not added, and why; ``served``: the gateway has it already, or is it."""

    origin: Entry
    reason: str
    served: bool = False


@dataclass(frozen=True, slots=True)
class Adoption:
    """What is to be done; ``variables`` are new, by name."""

    added: tuple[Added, ...]
    left_out: tuple[LeftOut, ...]
    variables: Mapping[str, str] = field(repr=False)


def adopt(
    entries: Iterable[Entry],
    present: Mapping[str, Json],
    stored: Mapping[str, str],
    environment: Mapping[str, str],
) -> Adoption:
    """Judge each entry.

    ``present`` are the servers of the configuration, ``stored`` the variables of its ``.env``,
    ``environment`` those that would win over them.
    """
    servers, variables = {**present}, dict(stored)
    added: list[Added] = []
    left_out: list[LeftOut] = []
    for entry in entries:
        known, taken = dict(variables), {**variables, **environment}
        candidate = _candidate(entry, servers, known, taken)
        reason = _presence(candidate, servers, {**known, **environment})
        objection = reason or _objection(candidate)
        if objection:
            left_out.append(LeftOut(entry, objection, served=bool(reason)))
            continue
        added.append(candidate)
        servers[candidate.name] = candidate.definition
        variables = known
    new = {name: value for name, value in variables.items() if name not in stored}
    return Adoption(tuple(added), tuple(left_out), new)


def _candidate(
    entry: Entry,
    servers: Mapping[str, Json],
    variables: dict[str, str],
    taken: Mapping[str, str],
) -> Added:
    """The entry in our words; the variables that it needs are added to ``variables``."""
    named, dropped = _renamed(entry.definition)
    migrated = migrate({"servers": [{**named, "name": entry.name.strip() or "server"}]}).document
    ((name, definition),) = _object(migrated["servers"]).items()
    moved: dict[str, str] = {}
    kept: Json = definition
    for found in plaintexts(definition):
        variable = _variable(found, name, {**taken, **variables})
        variables[variable] = found.secret
        moved[written(found.steps)] = variable
        kept = _replaced(kept, found.steps, found.secret, f"${{{variable}}}")
    return Added(_free(name, servers), _object(kept), entry, moved, dropped)


def _renamed(definition: JsonObject) -> tuple[JsonObject, tuple[str, ...]]:
    """The definition with our keys, and the keys that mean nothing here."""
    named = {_RENAMED.get(key, key): value for key, value in definition.items()}
    command = named.get("command")
    if isinstance(command, list) and command:
        named["command"], rest = command[0], command[1:]
        named["args"] = [*rest, *_list(named.get("args"))]
    _read_codex(named)
    if "type" in named and named["type"] not in _REMOTE_TYPES:
        del named["type"]
    elif "type" not in named and str(named.get("url", "")).partition("?")[0].endswith("/sse"):
        named["type"] = "sse"
    kept = {key: value for key, value in named.items() if key in _KNOWN}
    return kept, tuple(key for key in named if key not in (*_KNOWN, *_UNSAID))


def _read_codex(named: JsonObject) -> None:
    """Codex names the variables that a server may have, instead of filling them in."""
    headers, env = _object(named.get("headers")), _object(named.get("env"))
    bearer = named.pop("bearer_token_env_var", None)
    if isinstance(bearer, str):
        headers["Authorization"] = f"Bearer ${{{bearer}}}"
    for header, variable in _object(named.pop("env_http_headers", None)).items():
        headers[header] = f"${{{variable}}}"
    for variable in _list(named.pop("env_vars", None)):
        env[str(variable)] = f"${{{variable}}}"
    for key, value in (("headers", headers), ("env", env)):
        if value:
            named[key] = value


def _presence(candidate: Added, servers: Mapping[str, Json], variables: Mapping[str, str]) -> str:
    """Why it need not be added; empty where it may."""
    definition = candidate.definition
    words = [definition.get("url"), definition.get("command"), *_list(definition.get("args"))]
    if any(_GATEWAY.fullmatch(str(word)) for word in words):
        return "it is this gateway"
    own = _identity(definition, variables)
    same = [name for name, each in servers.items() if _identity(each, variables) == own]
    return f"it is there already, as {same[0]!r}" if same else ""


def _objection(candidate: Added) -> str:
    """Why it cannot be added; empty where it can."""
    definition = candidate.definition
    problems = validate({"servers": {candidate.name: definition}}).problems
    # A value with a variable cannot be judged before the variable is filled in.
    unknown = "${" in str(definition.get("url", ""))
    return "; ".join(map(str, problems)) if problems and not unknown else ""


def _identity(definition: Json, variables: Mapping[str, str]) -> Identity:
    """What makes a server the same: what is reached or run, and as whom. Two accounts at one
    service differ in a header or a variable only."""
    filled = fill(_object(definition), variables).document
    if filled.get("url"):
        return (filled["url"], _object(filled.get("headers")))
    if filled.get("openapi"):
        keys = ("openapi", "base_url", "headers", "credentials", "operations")
        return tuple(filled.get(key) for key in keys)
    env = {key: value for key, value in _object(filled.get("env")).items() if key[:1] != "_"}
    return (filled.get("command"), _list(filled.get("args")), env, filled.get("cwd"))


def _variable(found: Plaintext, server: str, taken: Mapping[str, str]) -> str:
    """A name that is free, or has this very value already."""
    own, plain = variable_name(f"{server}_{found.name}"), variable_name(found.name)
    is_variable = found.steps[0] == "env"
    names = [plain, own] if is_variable else [own]
    names += [f"{own}_{number}" for number in range(2, len(taken) + 3)]
    return next(name for name in names if taken.get(name, found.secret) == found.secret)


def _replaced(value: Json, steps: Steps, old: str, new: str) -> Json:
    if not steps:
        return str(value).replace(old, new)
    first, rest = steps[0], steps[1:]
    if isinstance(value, dict):
        return {
            key: _replaced(inner, rest, old, new) if key == first else inner
            for key, inner in value.items()
        }
    return [
        _replaced(inner, rest, old, new) if index == first else inner
        for index, inner in enumerate(_list(value))
    ]


def _free(name: str, servers: Mapping[str, Json]) -> str:
    names = [name, *(f"{name}-{number}" for number in range(2, len(servers) + 3))]
    return next(each for each in names if each not in servers)


def _object(value: Json) -> JsonObject:
    return value if isinstance(value, dict) else {}


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []
