"""Which tools may be used in a namespace: allowed, asked for, or denied. Pure.

The rules are read off the configuration once; what a tool comes to is decided once for each
manifest (``decide``), so that a call only looks it up. The order in which rules count:

1. a server's own ``deny`` (by the most specific of its patterns) is final;
2. ``read_only`` denies what is not annotated ``readOnlyHint``;
3. of all patterns that match, the server's, the namespace's and those of its ancestors, the most
   specific: an exact name before one with wildcards, then the one with more literal characters; of
   two that are equal in this, the stricter verdict;
4. ``ask_for`` asks for what no pattern names; annotations that are missing count as the protocol
   says (MCP, server/tools, ToolAnnotations: not read-only, and destructive);
5. what is left is allowed.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

import msgspec

from mcproxy.config.jsonc import written
from mcproxy.config.model import AskFor, Config, NamespaceConfig, ServerConfig, Verdict
from mcproxy.types import Json

STRICTNESS: tuple[Verdict, ...] = ("allow", "ask", "deny")
ASKING: tuple[AskFor, ...] = ("nothing", "destructive", "writes")
_WILDCARD = re.compile(r"\[!?\]?[^\]]*\]|[*?]")
_DEFAULT = "default"


class Ruling(msgspec.Struct, frozen=True):
    """What a tool comes to; ``source``: the place in the configuration that says so."""

    verdict: Verdict
    source: str = _DEFAULT


ALLOWED = Ruling("allow")
UNKNOWN = Ruling("deny", "there is no such tool")


def stricter(one: Ruling, other: Ruling | None) -> Ruling:
    """The one that lets less through."""
    if other is None or STRICTNESS.index(one.verdict) >= STRICTNESS.index(other.verdict):
        return one
    return other


class ToolRule(msgspec.Struct, frozen=True):
    """One pattern, of one server's own rules or of a namespace's; ``exact`` and ``literals`` say
    how specific it is."""

    server: str | None
    pattern: str
    verdict: Verdict
    source: str
    exact: bool
    literals: int

    def rank(self) -> tuple[bool, int, int]:
        """The larger counts."""
        return (self.exact, self.literals, STRICTNESS.index(self.verdict))

    def matches(self, server: str, tool: str) -> bool:
        """Does it stand for this tool? A namespace may write ``server.tool`` too; either part may
        have dots."""
        if self.server is not None and self.server != server:
            return False
        if fnmatchcase(tool, self.pattern):
            return True
        if self.server is not None:
            return False
        dots = (at for at, character in enumerate(self.pattern) if character == ".")
        return any(
            fnmatchcase(server, self.pattern[:at]) and fnmatchcase(tool, self.pattern[at + 1 :])
            for at in dots
        )


class ToolRules(msgspec.Struct, frozen=True):
    """The rules of one namespace, those of its ancestors and of its servers among them.

    ``read_only`` and ``asking`` are the places that say so, empty where none does.
    """

    of_servers: Mapping[str, tuple[ToolRule, ...]]
    own: tuple[ToolRule, ...] = ()
    read_only: str = ""
    ask_for: AskFor = "nothing"
    asking: str = ""

    def concern(self, server: str) -> bool:
        """Can anything of this server be denied, or asked for?"""
        everywhere = bool(self.own or self.read_only) or self.ask_for != "nothing"
        return everywhere or bool(self.of_servers.get(server))

    def may_ask(self) -> bool:
        """Is there any rule that asks?"""
        every = [rule for rules in (self.own, *self.of_servers.values()) for rule in rules]
        return self.ask_for != "nothing" or any(rule.verdict == "ask" for rule in every)


NO_RULES = ToolRules({})


def decide(rules: ToolRules, server: str, tool: str, annotations: Json) -> Ruling:
    """What the tool comes to; ``annotations`` as the server declares them, None where unknown."""
    hints = annotations if isinstance(annotations, dict) else {}
    reads = hints.get("readOnlyHint") is True
    said = [rule for rule in rules.of_servers.get(server, ()) if rule.matches(server, tool)]
    final = max(said, key=ToolRule.rank, default=None)
    if final and final.verdict == "deny":
        return Ruling("deny", final.source)
    if rules.read_only and not reads:
        return Ruling("deny", rules.read_only)
    said += [rule for rule in rules.own if rule.matches(server, tool)]
    best = max(said, key=ToolRule.rank, default=None)
    if best:
        return Ruling(best.verdict, best.source)
    spared = reads or (rules.ask_for == "destructive" and hints.get("destructiveHint") is False)
    if rules.ask_for != "nothing" and not spared:
        return Ruling("ask", rules.asking)
    return ALLOWED


def rules_of(
    config: Config, sections: Mapping[str, NamespaceConfig], line: Sequence[str]
) -> ToolRules:
    """The rules of the namespace that ``line`` begins with; its ancestors follow, nearest first.

    What an ancestor forbids stays forbidden: of ``read_only`` and ``ask_for`` the strictest counts.
    """
    own = [rule for name in line for rule in _rules(name, sections[name])]
    guarded = next((name for name in line if sections[name].read_only), None)
    asking = max(line, key=lambda name: ASKING.index(sections[name].ask_for))
    return ToolRules(
        {
            name: tuple(_rules(name, server))
            for name, server in config.servers.items()
            if server.tools
        },
        tuple(own),
        written(("namespaces", guarded, "read_only")) if guarded else "",
        sections[asking].ask_for,
        written(("namespaces", asking, "ask_for")),
    )


def all_rules(config: Config) -> Iterator[ToolRule]:
    """Every pattern that is written."""
    for name, server in config.servers.items():
        yield from _rules(name, server)
    for name, namespace in config.namespaces.items():
        yield from _rules(name, namespace)


def _rules(name: str, section: ServerConfig | NamespaceConfig) -> Iterator[ToolRule]:
    is_server = isinstance(section, ServerConfig)
    for pattern, verdict in section.tools.items():
        literals = len(_WILDCARD.sub("", pattern))
        place = ("servers" if is_server else "namespaces", name, "tools", pattern)
        exact = literals == len(pattern)
        server = name if is_server else None
        yield ToolRule(server, pattern, verdict, written(place), exact, literals)
