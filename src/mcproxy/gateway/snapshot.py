"""What a request sees of the gateway's state: frozen, taken once, kept until it is answered."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

import msgspec

from mcproxy.gateway.names import aliases
from mcproxy.manifest.lookup import outline
from mcproxy.manifest.model import Manifest
from mcproxy.observe.redact import Redactor
from mcproxy.policy.access import Policy
from mcproxy.types import Tool

META_TOOLS = ("search", "execute")
PREFIX = "mcproxy_"  # some clients put the server's name before the tool's
_SHAPES_ONLY = Redactor()
_RESERVED = (*META_TOOLS, *(PREFIX + name for name in META_TOOLS))


@dataclass(frozen=True)
class View:
    """One namespace's part of the manifest, and the JSON text behind ``api.manifest()``.

    ``bare`` are the servers whose tools and prompts keep their own names in direct mode.
    ``redactor`` masks what is not a server's own result: what is told of servers, their errors.
    """

    manifest: Manifest
    manifest_json: bytes
    bare: frozenset[str] = frozenset()
    redactor: Redactor = _SHAPES_ONLY

    @cached_property
    def direct(self) -> Mapping[str, Tool]:
        """The tools by the names under which clients in direct mode see them."""
        return self._named(())

    @cached_property
    def beside(self) -> Mapping[str, Tool]:
        """The same where the meta-tools stand beside them."""
        return self._named(_RESERVED)

    def tool_counts(self) -> list[tuple[str, int]]:
        """The servers by name with their number of tools, the largest first."""
        counts = [(name, len(server.tools)) for name, server in self.manifest.servers.items()]
        return sorted(counts, key=lambda count: (-count[1], count[0]))

    def _named(self, reserved: Collection[str]) -> Mapping[str, Tool]:
        tools = {(tool.ref.server, tool.ref.tool): tool for tool in self.manifest.tools}
        return {alias: tools[item] for alias, item in aliases(tools, self.bare, reserved).items()}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The rules and the tools at one moment; swapped as a whole, never changed."""

    policy: Policy
    views: Mapping[str, View]

    def parts(self) -> Mapping[str, Manifest]:
        """What each namespace and group sees of the manifest."""
        return {name: view.manifest for name, view in self.views.items()}


def take_snapshot(
    policy: Policy, manifest: Manifest, redactor: Redactor = _SHAPES_ONLY
) -> Snapshot:
    """Cut the manifest into the part of each namespace and group."""
    views: dict[str, View] = {}
    for name, namespace in policy.endpoints.items():
        visible = manifest.visible_to(namespace.servers)
        told = msgspec.json.encode(redactor.prose(outline(visible, name)))
        views[name] = View(visible, told, policy.bare, redactor)
    return Snapshot(policy, views)
