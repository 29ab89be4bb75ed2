"""``mcproxy namespaces [NAME]``: what each endpoint reaches and allows, and who said so.

The facts are those of ``policy.explain``; here they become lines for people. Of tools the verdicts
are told, where there are rules for them: of those that servers had when they last ran.
"""

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from mcproxy.commands.report import CommandReport, WrongUsage, columns
from mcproxy.commands.tool_verdicts import NOTHING_KNOWN, KnownTools, Verdicts, verdicts
from mcproxy.config.model import Config
from mcproxy.config.validation_messages import unknown
from mcproxy.policy.explain import (
    GroupStory,
    NamespaceStory,
    Reach,
    ServerStory,
    Setting,
    Story,
    explain,
)
from mcproxy.types import JsonObject

_INDENT = "  "


def run(
    config: Config, name: str | None = None, tools: KnownTools = NOTHING_KNOWN
) -> CommandReport:
    """Tell about one namespace, group or server, or about all of them. Raises WrongUsage."""
    story, ruled = explain(config), verdicts(config, tools)
    kinds = {"namespaces": story.namespaces, "groups": story.groups, "servers": story.servers}
    if name is None:
        facts = _facts({**kinds, "tools": ruled})
        return CommandReport(tuple(_everything(story, ruled)), facts=facts)
    told = [*_named(story, ruled, name)]
    if not told:
        known = {each for kind in kinds.values() for each in kind}
        raise WrongUsage(str(unknown("", "namespace, group or server", name, known)))
    shown: Mapping[str, Mapping[str, object]] = {**kinds, "tools": ruled}
    facts = _facts({key: {name: kind[name]} for key, kind in shown.items() if name in kind})
    return CommandReport(tuple(told), facts=facts)


def _facts(kinds: Mapping[str, Mapping[str, object]]) -> JsonObject:
    facts: JsonObject = msgspec.to_builtins(kinds, enc_hook=str)
    return facts


def _named(story: Story, ruled: Mapping[str, Verdicts], name: str) -> Iterator[str]:
    """All that has the name: a server may be called like a namespace."""
    if name in story.namespaces:
        yield from (*_namespace(story.namespaces[name]), *_tools(ruled[name]))
    if name in story.groups:
        yield from (*_group(story.groups[name]), *_tools(ruled[name]))
    if name in story.servers:
        yield from _server(story.servers[name])


def _everything(story: Story, ruled: Mapping[str, Verdicts]) -> Iterator[str]:
    for namespace in story.namespaces.values():
        yield from (*_namespace(namespace), *_tools(ruled[namespace.name]), "")
    for group in story.groups.values():
        yield from (*_group(group), *_tools(ruled[group.name]), "")
    for server in story.servers.values():
        yield from _server(server)


def _namespace(namespace: NamespaceStory) -> Iterator[str]:
    marks = ["default"] if namespace.is_default else []
    if namespace.ancestors:
        marks.append(f"extends {' > '.join(namespace.ancestors)}")
    yield f"namespace {namespace.name}{_in_brackets(marks)}"
    yield from _servers(namespace.servers, namespace.name)
    yield from _settings(namespace.settings)


def _group(group: GroupStory) -> Iterator[str]:
    yield f"group {group.name} (members {', '.join(group.members)})"
    yield from _servers(group.servers, group.name)
    yield from _settings(group.settings)


def _server(server: ServerStory) -> Iterator[str]:
    marks = [] if server.enabled else ["disabled"]
    marks.append(f"reached through {', '.join(server.endpoints) or 'no endpoint'}")
    yield f"server {server.name}{_in_brackets(marks)}"
    yield from _settings(server.settings)


def _servers(servers: Sequence[Reach], name: str) -> Iterator[str]:
    rows = [
        (reach.server, "" if reach.source == name else f"from {reach.source}") for reach in servers
    ]
    yield f"{_INDENT}servers{'' if rows else ': none'}"
    if rows:
        yield from columns(rows, _INDENT * 2)


def _settings(settings: Sequence[Setting]) -> Iterator[str]:
    yield f"{_INDENT}settings"
    rows = [(setting.key, _shown(setting.value), setting.source) for setting in settings]
    yield from columns(rows, _INDENT * 2)


def _tools(ruled: Verdicts) -> Iterator[str]:
    if ruled.rulings or ruled.unknown:
        yield f"{_INDENT}tools"
    rows = [(name, ruling.verdict, ruling.source) for name, ruling in ruled.rulings.items()]
    if rows:
        yield from columns(rows, _INDENT * 2)
    if ruled.unknown:
        names = ", ".join(ruled.unknown)
        yield f"{_INDENT * 2}not known until the gateway has run them: the tools of {names}"


def _shown(value: object) -> str:
    if isinstance(value, tuple | list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else str(value)


def _in_brackets(marks: Sequence[str]) -> str:
    return f" ({', '.join(marks)})" if marks else ""
