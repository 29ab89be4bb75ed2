"""``mcproxy add`` and ``mcproxy remove``: one server of the configuration, its comments kept.

Secrets go into the ``.env`` beside it. What changes is decided here; ``undo`` writes it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mcproxy.commands.adopt import adopt
from mcproxy.commands.clients import Entry
from mcproxy.commands.files import file_text, stored_variables, with_block
from mcproxy.commands.json_edit import with_members, without
from mcproxy.config.load import read_document
from mcproxy.config.migrate import is_v1
from mcproxy.config.validate import validate
from mcproxy.errors import McproxyError
from mcproxy.types import Json, JsonObject


class CannotChange(McproxyError):
    """The configuration cannot be changed as asked; nothing was."""


@dataclass(frozen=True, slots=True)
class NewServer:
    """A server to add; ``variables`` are values that its definition names, for ``.env``."""

    name: str
    definition: JsonObject = field(repr=False)
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Reached:
    """How a server is reached, as it was typed: one of the three, the URL of an API beside."""

    command: Sequence[str] = ()
    url: str | None = field(default=None, repr=False)
    openapi: str | None = field(default=None, repr=False)
    base_url: str | None = field(default=None, repr=False)


def typed(name: str, how: Reached, pairs: "Pairs") -> NewServer:
    """The server as it was typed. Raises ValueError, in words for the user."""
    command, ways = how.command, (how.command, how.url, how.openapi)
    if sum(map(bool, ways)) != 1:
        raise ValueError("give one of --url URL, --openapi FILE|URL, or -- COMMAND ARGUMENT…")
    if command and pairs.headers:
        raise ValueError("--header is for a server with a --url or --openapi")
    if how.base_url and not how.openapi:
        raise ValueError("--base-url is for a server with --openapi")
    env, headers = _pairs(pairs.env, "--env"), _pairs(pairs.headers, "--header")
    said = {"url": how.url, "openapi": how.openapi, "base_url": how.base_url}
    definition: JsonObject = {key: value for key, value in said.items() if value}
    if command:
        definition["command"] = command[0]
    if len(command) > 1:
        definition["args"] = [*command[1:]]
    for key, values in (("env", env), ("headers", headers)):
        if values:
            definition[key] = {**values}
    return NewServer(name, definition)


@dataclass(frozen=True, slots=True)
class Pairs:
    """What was typed as NAME=VALUE."""

    env: Sequence[str] = field(default=(), repr=False)
    headers: Sequence[str] = field(default=(), repr=False)

    @property
    def values(self) -> dict[str, str]:
        """Those of ``env`` by name. Raises ValueError."""
        return _pairs(self.env, "--env")


def with_server(config: Path, new: NewServer, environment: Mapping[str, str]) -> dict[Path, str]:
    """The texts of the files with the server. Raises CannotChange, ConfigError, OSError."""
    document, present = servers_of(config)
    if new.name in present:
        raise CannotChange(f"{config}: there is a server {new.name!r}; `mcproxy remove {new.name}`")
    stored = stored_variables(config)
    clashing = [name for name, value in new.variables.items() if stored.get(name, value) != value]
    if clashing:
        raise CannotChange(f"{config.parent / '.env'} has another value for {', '.join(clashing)}")
    known = {**stored, **new.variables}
    adoption = adopt([Entry(new.name, new.definition, config)], present, known, environment)
    if adoption.left_out:
        raise CannotChange(f"{new.name}: {adoption.left_out[0].reason}")
    (added,) = adoption.added
    problems = validate({**document, "servers": {**present, new.name: added.definition}}).problems
    places = [str(added.definition.get(key, "")) for key in ("url", "base_url")]
    if problems and not any("${" in place for place in places):
        raise CannotChange("; ".join(map(str, problems)))
    variables = {
        name: value
        for name, value in {**new.variables, **adoption.variables}.items()
        if name not in stored
    }
    servers = {new.name: added.definition}
    return with_servers(config, servers, variables, f"mcproxy add {new.name}")


def with_servers(
    config: Path, servers: Mapping[str, Json], variables: Mapping[str, str], title: str
) -> dict[Path, str]:
    """The texts of the files with these servers, and with new variables under a title.

    The ``.env`` is first, so that the configuration never names a variable that is not there.
    """
    texts: dict[Path, str] = {}
    env = config.parent / ".env"
    if variables:
        texts[env] = with_block(file_text(env), title, variables)
    if servers:
        texts[config] = with_members(file_text(config), ("servers",), servers)
    return texts


def without_server(config: Path, name: str) -> dict[Path, str]:
    """The text of the configuration without the server; its variables stay in ``.env``.

    Raises as ``with_server``.
    """
    _, present = servers_of(config)
    if name not in present:
        known = ", ".join(present) or "none"
        raise CannotChange(f"{config}: there is no server {name!r}; there are: {known}")
    return {config: without(file_text(config), ("servers", name))}


def servers_of(config: Path) -> tuple[JsonObject, JsonObject]:
    """The configuration, where there is one, and its servers. Raises CannotChange, ConfigError."""
    document = read_document(config) if config.exists() else {}
    if is_v1(document):
        raise CannotChange(f"{config} is a v1 file: `mcproxy migrate {config} --write` comes first")
    servers = document.get("servers")
    return document, servers if isinstance(servers, dict) else {}


def _pairs(texts: Sequence[str], option: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise ValueError(f"{option} is NAME=VALUE")  # the text may be a secret
        found[name] = value
    return found
