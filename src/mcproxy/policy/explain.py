"""Why a namespace is as it is: each server and setting with the place that it comes from. Pure.

The values are those of ``resolve``, which decides; this file only looks for who said them first.
"""

from collections.abc import Iterator, Mapping, Sequence

import msgspec
from pydantic import BaseModel

from mcproxy.config.auth import openers
from mcproxy.config.inherit import (
    all_namespaces,
    env_isolated,
    home_namespace,
    lineage,
    parents,
)
from mcproxy.config.model import ANY, Config, NamespaceConfig
from mcproxy.policy.groups import resolve_groups
from mcproxy.policy.namespaces import Namespace, own_servers, resolve

DEFAULT = "default"
GLOBAL = "sandbox"
AUTH = "auth"
OWN_SECTION = (
    "mode",
    "rate_limit",
    "concurrency",
    "require_auth",
    "allowed_origins",
    "isolated",
    "read_only",
    "ask_for",
)
_STRICTEST_COUNTS = ("require_auth", "read_only", "ask_for")
# What the global section has for the program as a whole is no setting of a namespace.
_GLOBAL_ONLY = ("level", "min_level", "default_namespace", "pool_size", "uv_path")


class Setting(msgspec.Struct, frozen=True):
    """One effective value; ``source`` is ``namespace NAME``, ``server NAME``, ``sandbox`` (the
    global section), ``auth`` or ``default``."""

    key: str
    value: object
    source: str


class Reach(msgspec.Struct, frozen=True):
    """A server that can be reached; ``source`` is the namespace that it belongs to."""

    server: str
    source: str


class NamespaceStory(msgspec.Struct, frozen=True):
    """One namespace; ``ancestors`` nearest first."""

    name: str
    is_default: bool
    ancestors: tuple[str, ...]
    servers: tuple[Reach, ...]
    settings: tuple[Setting, ...]


class GroupStory(msgspec.Struct, frozen=True):
    """One group, its members as resolved; settings are the strictest of all of them."""

    name: str
    servers: tuple[Reach, ...]
    members: tuple[str, ...]
    settings: tuple[Setting, ...]


class ServerStory(msgspec.Struct, frozen=True):
    """One server: where its settings come from, and the endpoints through which it is reached."""

    name: str
    enabled: bool
    endpoints: tuple[str, ...]
    settings: tuple[Setting, ...]


class Story(msgspec.Struct, frozen=True):
    """The whole configuration, resolved."""

    namespaces: Mapping[str, NamespaceStory]
    groups: Mapping[str, GroupStory]
    servers: Mapping[str, ServerStory]


def explain(config: Config) -> Story:
    """Resolve a checked configuration and tell where everything comes from."""
    namespaces = resolve(config)
    groups = resolve_groups(config, namespaces)
    extends = parents(config)
    lines = {name: lineage(extends, name) for name in namespaces}
    endpoints: Mapping[str, Namespace] = {**namespaces, **groups}
    return Story(
        {name: _namespace(config, each, lines[name]) for name, each in namespaces.items()},
        {
            name: GroupStory(
                name,
                tuple(Reach(server, group.through(server).name) for server in group.servers),
                tuple(part.name for part in group.parts),
                tuple(_group_settings(group)),
            )
            for name, group in groups.items()
        },
        {name: _server(config, name, endpoints) for name in config.servers},
    )


def _namespace(config: Config, namespace: Namespace, line: Sequence[str]) -> NamespaceStory:
    sections = all_namespaces(config)
    own = own_servers(config, sections)
    reach = tuple(
        Reach(server, next(each for each in line if server in own[each]))
        for server in namespace.servers
    )
    layers = {f"namespace {each}": sections[each] for each in line}
    return NamespaceStory(
        namespace.name,
        namespace.name == config.sandbox.default_namespace,
        tuple(line[1:]),
        reach,
        (
            *_own_settings(namespace, layers),
            *_opened_by(config, namespace),
            *_sandbox_settings(config, namespace, layers),
        ),
    )


def _own_settings(namespace: Namespace, layers: Mapping[str, NamespaceConfig]) -> Iterator[Setting]:
    for key in OWN_SECTION:
        value = getattr(namespace, key)
        said = [source for source, section in layers.items() if _says(section, key, value)]
        own = [source for source in said if source == f"namespace {namespace.name}"]
        # Being isolated is not inherited.
        found = own if key == "isolated" else said
        source = found[0] if found else DEFAULT
        if isinstance(value, BaseModel):  # inherited as a whole
            leaves = _leaves(value)
            yield from (Setting(".".join((key, *steps)), leaf, source) for steps, leaf in leaves)
        else:
            yield Setting(key, value, source)


def _opened_by(config: Config, namespace: Namespace) -> Iterator[Setting]:
    """The tokens and scopes that open a guarded namespace."""
    if namespace.require_auth:
        found = [
            opener.about
            for opener in openers(config.auth)
            if ANY in opener.namespaces or namespace.name in opener.namespaces
        ]
        yield Setting("opened_by", tuple(found), AUTH)


def _says(section: NamespaceConfig, key: str, value: object) -> bool:
    """Is this the section that settles the value? Some cannot be lifted again."""
    said = getattr(section, key)
    if key in _STRICTEST_COUNTS:
        return key in section.model_fields_set and said == value and bool(said)
    return key in section.model_fields_set and said is not None


def _sandbox_settings(
    config: Config, namespace: Namespace, layers: Mapping[str, NamespaceConfig]
) -> Iterator[Setting]:
    sources: dict[str, BaseModel] = {name: section.sandbox for name, section in layers.items()}
    sources[GLOBAL] = config.sandbox
    for steps, value in _leaves(namespace.sandbox):
        if steps[0] not in _GLOBAL_ONLY:
            yield Setting(".".join((GLOBAL, *steps)), value, _source(sources, steps))


def _group_settings(group: Namespace) -> Iterator[Setting]:
    yield Setting("mode", group.mode, "members")
    yield Setting("require_auth", group.require_auth, "members")
    for steps, value in _leaves(group.sandbox):
        if steps[0] not in (*_GLOBAL_ONLY, "env_isolation"):
            yield Setting(".".join((GLOBAL, *steps)), value, "strictest of the members")


def _server(config: Config, name: str, endpoints: Mapping[str, Namespace]) -> ServerStory:
    server, own = config.servers[name], f"server {name}"
    line = lineage(parents(config), home_namespace(config, name))
    sections = all_namespaces(config)
    sources: dict[str, BaseModel] = {own: server.sandbox}
    sources |= {f"namespace {each}": sections[each].sandbox for each in line}
    sources[GLOBAL] = config.sandbox
    said = own if "timeout_secs" in server.model_fields_set else DEFAULT
    settings = [Setting("timeout_secs", server.timeout_secs, said)]
    settings += [
        Setting(f"tool_timeouts.{tool}", secs, own) for tool, secs in server.tool_timeouts.items()
    ]
    settings += [
        Setting(f"{GLOBAL}.{key}", value, own)
        for key, value in server.sandbox.model_dump(
            include={"timeout_secs", "memory_mb"}, exclude_none=True
        ).items()
    ]
    isolation = _source(sources, ("env_isolation",))
    settings.append(Setting(f"{GLOBAL}.env_isolation", env_isolated(config, name), isolation))
    reached = tuple(place for place, each in endpoints.items() if name in each.servers)
    return ServerStory(name, server.enabled, reached, tuple(settings))


def _source(sources: Mapping[str, BaseModel], steps: tuple[str, ...]) -> str:
    """The first of the sections that says something about the key."""
    return next((name for name, section in sources.items() if _is_set(section, steps)), DEFAULT)


def _is_set(section: BaseModel, steps: tuple[str, ...]) -> bool:
    first, rest = steps[0], steps[1:]
    inner: object = getattr(section, first)
    if first not in section.model_fields_set or inner is None:
        return False
    return not rest or (isinstance(inner, BaseModel) and _is_set(inner, rest))


def _leaves(section: BaseModel) -> Iterator[tuple[tuple[str, ...], object]]:
    for key in type(section).model_fields:
        value: object = getattr(section, key)
        if isinstance(value, BaseModel):
            yield from (((key, *steps), leaf) for steps, leaf in _leaves(value))
        else:
            yield (key,), value
