"""What a request sees of the gateway's state: frozen, taken once, kept until it is answered."""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from mcproxy.manifest.lookup import outline
from mcproxy.manifest.model import Manifest
from mcproxy.policy.access import Policy


@dataclass(frozen=True, slots=True)
class View:
    """One namespace's part of the manifest, and the JSON text behind ``api.manifest()``."""

    manifest: Manifest
    manifest_json: bytes

    def tool_counts(self) -> list[tuple[str, int]]:
        """The servers by name with their number of tools, the largest first."""
        counts = [(name, len(server.tools)) for name, server in self.manifest.servers.items()]
        return sorted(counts, key=lambda count: (-count[1], count[0]))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The rules and the tools at one moment; swapped as a whole, never changed."""

    policy: Policy
    views: Mapping[str, View]


def take_snapshot(policy: Policy, manifest: Manifest) -> Snapshot:
    """Cut the manifest into the part of each namespace and group."""
    views: dict[str, View] = {}
    for name, namespace in policy.endpoints.items():
        visible = manifest.visible_to(namespace.servers)
        views[name] = View(visible, msgspec.json.encode(outline(visible, name)))
    return Snapshot(policy, views)
