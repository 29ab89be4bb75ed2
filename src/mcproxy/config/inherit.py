"""How namespaces inherit: from whom, in which order, and how settings are merged. Pure.

The order is the one that classes have in most languages: a namespace comes before its parents, the
parents in the order written, and a shared ancestor after all who extend it. For each setting the
first in that order wins; the global ``sandbox`` is the last.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

from mcproxy.config.model import Config, NamespaceConfig
from mcproxy.config.sandbox import Sandbox, SandboxOverride
from mcproxy.types import Json, JsonObject

Parents: TypeAlias = Mapping[str, tuple[str, ...]]


def all_namespaces(config: Config) -> Mapping[str, NamespaceConfig]:
    """The namespaces by name; the default one is there even when the file does not have it."""
    default = config.sandbox.default_namespace
    if default in config.namespaces:
        return config.namespaces
    return {default: NamespaceConfig(), **config.namespaces}


def parents(config: Config) -> Parents:
    """What each namespace extends."""
    return {name: section.extends for name, section in all_namespaces(config).items()}


def lineage(parents: Parents, name: str) -> tuple[str, ...]:
    """``name`` and all its ancestors, nearest first. Ends even if there are cycles."""
    finished: list[str] = []
    seen: set[str] = set()
    stack = [(name, False)]
    while stack:
        current, ancestors_done = stack.pop()
        if ancestors_done:
            finished.append(current)
        elif current not in seen:
            seen.add(current)
            stack.append((current, True))
            stack.extend((parent, False) for parent in parents.get(current, ()))
    return tuple(reversed(finished))


def cycles(parents: Parents) -> Iterator[tuple[str, ...]]:
    """A cycle, as ``("a", "b", "a")``, for every namespace that is in one; each only once."""
    reported: set[str] = set()
    for name in parents:
        path = None if name in reported else _path_back(parents, name)
        if path:
            reported.update(path)
            yield path


def _path_back(parents: Parents, start: str) -> tuple[str, ...] | None:
    came_from: dict[str, str] = {}
    waiting = [start]
    for current in waiting:  # grows while it is walked: breadth first
        for parent in parents.get(current, ()):
            if parent == start:
                path = [start, current]
                while path[-1] != start:
                    path.append(came_from[path[-1]])
                return tuple(reversed(path))
            if parent not in came_from:
                came_from[parent] = current
                waiting.append(parent)
    return None


def home_namespace(config: Config, server: str) -> str:
    """The namespace whose settings a server's process has: its own, else one that lists it."""
    own = config.servers[server].namespace
    listing = (name for name, section in config.namespaces.items() if server in section.servers)
    return own or next(listing, config.sandbox.default_namespace)


def env_isolated(config: Config, server: str) -> bool:
    """May the server's process have only the variables of its definition (contract of ``env``)?"""
    names = lineage(parents(config), home_namespace(config, server))
    return merged_sandbox(config, names, config.servers[server].sandbox).env_isolation


def merged_sandbox(
    config: Config, names: Iterable[str], own: SandboxOverride | None = None
) -> Sandbox:
    """The global sandbox with what the namespaces, nearest first, and ``own`` change of it."""
    namespaces = all_namespaces(config)
    overrides = [namespaces[name].sandbox for name in names]
    layers = [own, *overrides] if own else overrides
    merged: JsonObject = {}
    for layer in layers:
        merged = with_defaults(merged, layer.model_dump(exclude_unset=True, exclude_none=True))
    return Sandbox.model_validate(with_defaults(merged, config.sandbox.model_dump()))


def with_defaults(settings: Mapping[str, Json], defaults: Mapping[str, Json]) -> JsonObject:
    """``settings`` completed by ``defaults``, objects key by key, lists as a whole."""
    merged: JsonObject = {**defaults, **settings}
    for key, value in settings.items():
        default = defaults.get(key)
        if isinstance(value, dict) and isinstance(default, dict):
            merged[key] = with_defaults(value, default)
    return merged
