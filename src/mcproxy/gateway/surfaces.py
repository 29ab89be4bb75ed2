"""Which tools a client is shown, and why: code mode, a tool that calls tools, or the tools
themselves. Pure.

``auto`` decides by what is known of the client and by how much the tools themselves would cost its
model. Programs name themselves in ``clientInfo`` (MCP, basic/lifecycle); what is known of them is
``HOSTS``, which the configuration's ``hosts`` overrides. A name is compared without its case, and
by the patterns of a shell.
"""

import logging
from collections import OrderedDict
from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase

import msgspec

from mcproxy.config.model import Surface
from mcproxy.gateway.snapshot import View
from mcproxy.policy.access import SurfaceRules
from mcproxy.types import JsonObject

MAX_CHOICES = 100  # that are kept; clients choose their names
log = logging.getLogger(__name__)

# Programs that search tools, or write code that calls them, by themselves, so that a second such
# layer is in their way; and those that mostly run models which write no code.
HOSTS: Mapping[str, Surface] = {
    "claude-code": "direct",
    "claude-ai": "direct",
    "codex-mcp-client": "direct",
    "goose": "direct",
    "ollama*": "call",
    "lm-studio*": "call",
    "lmstudio*": "call",
    "llama*": "call",
    "anythingllm*": "call",
}
OWN_TOOLS: Mapping[Surface, tuple[str, ...]] = {
    "code": ("search", "execute"),
    "both": ("search", "execute"),
    "call": ("search", "call"),
    "direct": (),
}
"""The gateway's own tools on each surface."""


class SurfaceChoice(msgspec.Struct, frozen=True):
    """A surface, and why it was chosen, in words for the operator."""

    surface: Surface
    reason: str


class SurfaceChoices:
    """What was chosen for whom, by namespace and client: told to the log when it is another than
    before, and kept for ``/health``."""

    def __init__(self) -> None:
        self._chosen: OrderedDict[tuple[str, str], SurfaceChoice] = OrderedDict()

    def note(self, namespace: str, client: str, choice: SurfaceChoice) -> None:
        """A choice was made."""
        if self._chosen.get((namespace, client)) == choice:
            return
        self._chosen[namespace, client] = choice
        if len(self._chosen) > MAX_CHOICES:
            self._chosen.popitem(last=False)
        who = repr(client) if client else "a client without a name"
        text = "namespace %s, %s: mode %s, since %s"
        log.info(text, namespace, who, choice.surface, choice.reason)

    def told(self, namespaces: Collection[str]) -> list[JsonObject]:
        """Those of these namespaces, for ``/health``."""
        return [
            {"namespace": place, "client": client, "mode": one.surface, "reason": one.reason}
            for (place, client), one in self._chosen.items()
            if place in namespaces
        ]


def choose(client: str, rules: SurfaceRules, view: View) -> SurfaceChoice:
    """The surface of a client in mode ``auto``: by its name, else by what the tools cost."""
    known = _known(client, {**HOSTS, **rules.hosts})
    if known:
        return SurfaceChoice(known[1], f"{known[0]!r} in the table of hosts fits it")
    cost = view.direct_tokens
    if cost <= rules.direct_tokens:
        return SurfaceChoice("direct", f"its tools cost about {cost} tokens, at most direct_tokens")
    return SurfaceChoice(
        "code", f"its tools would cost about {cost} tokens, more than direct_tokens"
    )


def _known(client: str, hosts: Mapping[str, Surface]) -> tuple[str, Surface] | None:
    """The entry for a client: its own name before patterns, of these the longest."""
    name = client.lower()
    fitting = [(pattern, surface) for pattern, surface in hosts.items() if _fits(name, pattern)]
    return max(fitting, key=lambda entry: (entry[0].lower() == name, len(entry[0])), default=None)


def _fits(name: str, pattern: str) -> bool:
    return bool(name) and fnmatchcase(name, pattern.lower())
