"""A server as an MCP registry describes it (registry API v0.1), as a definition of ours.

What a person has to give stands in the definition as a variable. An entry is written by others:
one that would have our own variables filled in is refused.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import quote

import httpx
import msgspec
from msgspec.structs import replace

from mcproxy.commands.clients import variable_name
from mcproxy.commands.edit_servers import CannotChange, NewServer
from mcproxy.types import Json, JsonObject

FETCH_SECS = 20.0
MAX_ENTRY_BYTES = 1 << 20
_PATH = "/v0.1/servers/{}/versions/latest"
_NAMED = re.compile(r"\{([A-Za-z_][\w.-]*)\}")
_TRANSPORTS = {"streamable-http": "http", "sse": "sse"}


class Input(msgspec.Struct, frozen=True):
    """A value that a person gives; ``variable`` is its name in ``.env``, ``name`` that in the
    registry."""

    name: str
    variable: str
    description: str = ""
    required: bool = False
    secret: bool = False
    default: str | None = None


class Offered(msgspec.Struct, frozen=True):
    """What an entry comes to: a definition with variables, and what they are."""

    name: str
    definition: JsonObject
    inputs: tuple[Input, ...]


Ask = Callable[[Input], str]


def fetch(base: str, identifier: str) -> JsonObject:
    """The newest version of a server's entry. Raises CannotChange."""
    url = base.rstrip("/") + _PATH.format(quote(identifier, safe=""))
    try:
        with httpx.Client(timeout=FETCH_SECS, follow_redirects=False) as http:
            response = http.get(url)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise CannotChange(f"the registry {base} cannot be reached: {error}") from error
    if response.status_code == httpx.codes.NOT_FOUND:
        raise CannotChange(f"the registry {base} has no server {identifier!r}")
    if not response.is_success or len(response.content) > MAX_ENTRY_BYTES:
        raise CannotChange(f"the registry {base} answered with status {response.status_code}")
    try:
        document: Json = json.loads(response.content)
    except ValueError:
        document = None
    server = document.get("server") if isinstance(document, dict) else None
    if not isinstance(server, dict):
        raise CannotChange(f"{url}: is no entry of a registry (API v0.1)")
    return server


def offered(entry: JsonObject, name: str | None = None) -> Offered:
    """The first way to run the server that there is here. Raises CannotChange. Pure."""
    if "${" in json.dumps(entry):
        raise CannotChange("the entry has ${…} in it, which would be filled in here")
    short = str(entry.get("name", "")).rpartition("/")[2]
    own = name or re.sub(r"[^A-Za-z0-9_.-]+", "-", short) or "server"
    for package in _objects(entry.get("packages")):
        if runner := _runner(package):
            return _local(own, package, runner)
    for remote in _objects(entry.get("remotes")):
        if remote.get("type") in _TRANSPORTS:
            return _remote(own, remote)
    raise CannotChange("the entry has no package of npm, PyPI or OCI, and no remote server")


def filled(found: Offered, given: Mapping[str, str], ask: Ask | None) -> NewServer:
    """The server with its values, which are ``given`` by either name, else by ``ask``.

    Raises CannotChange where a required one is missing and nobody can be asked.
    """
    values: dict[str, str] = {}
    missing: list[Input] = []
    for each in found.inputs:
        value = given.get(each.variable, given.get(each.name, each.default))
        if value is None and each.required and ask:
            value = ask(each)
        if value:
            values[each.variable] = value
        elif each.required:
            missing.append(each)
    if missing:
        wanted = "; ".join(
            f"{each.variable} ({each.description or 'required'})" for each in missing
        )
        raise CannotChange(f"it needs, as --env NAME=VALUE: {wanted}")
    absent = {f"${{{each.variable}}}" for each in found.inputs} - {f"${{{v}}}" for v in values}
    return NewServer(found.name, _pruned(found.definition, absent), values)


def _runner(package: JsonObject) -> tuple[str, ...]:
    """The words before the arguments of a package; none where it cannot be run here."""
    transport = package.get("transport")
    kind = transport.get("type") if isinstance(transport, dict) else "stdio"
    identifier, version = str(package.get("identifier", "")), str(package.get("version", ""))
    if kind != "stdio" or not identifier or identifier.startswith("-"):
        return ()
    pinned = f"{identifier}@{version}" if version and version != "latest" else identifier
    match package.get("registryType"):
        case "npm":
            return ("npx", "-y", pinned)
        case "pypi":
            return ("uvx", pinned)
        case "oci":
            tagged = f"{identifier}:{version}" if version else identifier
            named = ":" in identifier.rpartition("/")[2] or "@" in identifier
            return ("docker", "run", "-i", "--rm", identifier if named else tagged)
    return ()


def _local(own: str, package: JsonObject, runner: tuple[str, ...]) -> Offered:
    inputs: list[Input] = []
    env: dict[str, Json] = {}
    for each in _objects(package.get("environmentVariables")):
        name = str(each.get("name", ""))
        env[name] = _placed(each, _input(each, name, name), inputs)
    before = list(_arguments(own, package.get("runtimeArguments"), inputs))
    after = list(_arguments(own, package.get("packageArguments"), inputs))
    command, *words = runner
    *head, last = words
    passed = [word for name in env for word in ("-e", name)] if command == "docker" else []
    definition: JsonObject = {
        "command": command,
        "args": [*head, *before, *passed, last, *after],
        **({"env": env} if env else {}),
    }
    return Offered(own, definition, tuple(inputs))


def _remote(own: str, remote: JsonObject) -> Offered:
    inputs: list[Input] = []
    named = remote.get("variables")
    variables = named if isinstance(named, dict) else {}
    url = _NAMED.sub(
        lambda match: _template(own, match[1], variables.get(match[1]), inputs),
        str(remote.get("url", "")),
    )
    headers: dict[str, Json] = {}
    for each in _objects(remote.get("headers")):
        name = str(each.get("name", ""))
        headers[name] = _placed(each, _input(each, name, variable_name(f"{own}_{name}")), inputs)
    kind = _TRANSPORTS[str(remote.get("type"))]
    definition: JsonObject = {
        "url": url,
        **({"transport": kind} if kind == "sse" else {}),
        **({"headers": headers} if headers else {}),
    }
    return Offered(own, definition, tuple(inputs))


def _arguments(own: str, value: Json, inputs: list[Input]) -> Iterator[str]:
    for each in _objects(value):
        hint = str(each.get("valueHint") or each.get("name") or "value")
        wanted = _input(each, hint, variable_name(f"{own}_{hint}"))
        fixed = each.get("value", each.get("default"))
        if each.get("type") == "named":
            yield str(each.get("name"))
            if fixed is None and not wanted.required:
                continue  # a switch
        elif fixed is None and not wanted.required:
            continue
        yield _placed(each, wanted, inputs)


def _placed(each: JsonObject, wanted: Input, inputs: list[Input]) -> str:
    """The text that stands in the definition: what is fixed, else a variable."""
    fixed = each.get("value")
    if not isinstance(fixed, str):
        inputs.append(wanted)
        return f"${{{wanted.variable}}}"
    named = each.get("variables")
    variables = named if isinstance(named, dict) else {}
    return _NAMED.sub(
        lambda match: (
            _template(wanted.variable, match[1], variables.get(match[1]), inputs)
            if match[1] in variables
            else match[0]
        ),
        fixed,
    )


def _template(own: str, name: str, about: Json, inputs: list[Input]) -> str:
    told = about if isinstance(about, dict) else {}
    wanted = _input(told, name, variable_name(f"{own}_{name}"))
    inputs.append(replace(wanted, required=True))
    return f"${{{wanted.variable}}}"


def _input(told: JsonObject, name: str, variable: str) -> Input:
    default = told.get("default")
    return Input(
        name,
        variable,
        " ".join(str(told.get("description", "")).split()),
        required=told.get("isRequired") is True,
        secret=told.get("isSecret") is True,
        default=default if isinstance(default, str) and default else None,
    )


def _pruned(definition: JsonObject, absent: set[str]) -> JsonObject:
    """The definition without members whose value nobody gave."""
    kept: JsonObject = {}
    for key, value in definition.items():
        if isinstance(value, dict):
            inner = {name: each for name, each in value.items() if each not in absent}
            if inner:
                kept[key] = inner
        else:
            kept[key] = value
    return kept


def _objects(value: Json) -> list[JsonObject]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
