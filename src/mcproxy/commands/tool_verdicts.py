"""What the rules for tools come to, for ``mcproxy namespaces`` and ``mcproxy check``.

No server is started: the tools are those that each had when it last ran, where that is remembered.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

import msgspec

from mcproxy.config.load import Loaded
from mcproxy.config.model import Config
from mcproxy.foreign_text import label
from mcproxy.manifest.text import snake
from mcproxy.policy.access import policy_of
from mcproxy.policy.namespaces import Namespace
from mcproxy.policy.tool_rules import Ruling, all_rules, decide
from mcproxy.types import Json, Tool
from mcproxy.upstream.definition import definitions
from mcproxy.upstream.supervision.tool_cache import OfferFile

KnownTools: TypeAlias = Mapping[str, Sequence[Tool]]
"""By server; one that is missing has never run as it is configured now."""

NOTHING_KNOWN: KnownTools = MappingProxyType({})
_MAX_NAME_CHARS = 100
# Verbs of which a tool that only reads has none; the first word of its name counts.
_WRITING = re.compile(
    r"(?:delete|remove|destroy|drop|purge|erase|wipe|truncate|create|insert|update|write|set|put"
    r"|send|post|publish|merge|move|rename|kill|execute|run|transfer|pay|buy|revoke|grant)(?:_|$)"
)


class Verdicts(msgspec.Struct, frozen=True):
    """Of one endpoint: the tools of servers that rules concern, ``SERVER.TOOL`` each; ``unknown``
    are such servers of which no tools are known."""

    rulings: Mapping[str, Ruling]
    unknown: tuple[str, ...]


def known_tools(loaded: Loaded, state: Path) -> KnownTools:
    """What is remembered of the servers that are configured."""
    found = {
        name: OfferFile(state / "tools", name, definition.key).read()
        for name, definition in definitions(loaded).items()
    }
    return {name: offer.tools_of(name) for name, offer in found.items() if offer}


def verdicts(config: Config, tools: KnownTools) -> Mapping[str, Verdicts]:
    """What the tools come to, by namespace and group."""
    endpoints = policy_of(config).endpoints
    return {name: _verdicts(endpoint, tools) for name, endpoint in endpoints.items()}


def _verdicts(endpoint: Namespace, tools: KnownTools) -> Verdicts:
    ruled = [
        server for server in endpoint.servers if endpoint.through(server).tools.concern(server)
    ]
    rulings = {
        _name(tool): decide(
            endpoint.through(server).tools, server, tool.ref.tool, _annotations(tool)
        )
        for server in ruled
        for tool in tools.get(server, ())
    }
    return Verdicts(rulings, tuple(server for server in ruled if server not in tools))


def doubts(config: Config, tools: KnownTools) -> Iterator[str]:
    """Patterns that match no tool, and annotations that lie open, where rules rely on either."""
    every = [tool for listed in tools.values() for tool in listed]
    for rule in all_rules(config):
        meant = [rule.server] if rule.server else config.servers
        known = all(server in tools for server in meant)
        if known and not any(rule.matches(tool.ref.server, tool.ref.tool) for tool in every):
            yield f"{rule.source}: matches no tool"
    sections = config.namespaces.values()
    if any(section.read_only or section.ask_for != "nothing" for section in sections):
        for tool in every:
            if _reads(tool) and _WRITING.match(snake(tool.ref.tool)):
                yield f"{_name(tool)}: is annotated readOnlyHint, which its name contradicts"


def _annotations(tool: Tool) -> Json:
    return tool.definition.get("annotations")


def _reads(tool: Tool) -> bool:
    annotations = _annotations(tool)
    return isinstance(annotations, dict) and annotations.get("readOnlyHint") is True


def _name(tool: Tool) -> str:
    return label(f"{tool.ref.server}.{tool.ref.tool}", _MAX_NAME_CHARS)
