"""What a request sees of the gateway's state: frozen, taken once, kept until it is answered."""

from collections.abc import Collection, Iterable, Mapping
from functools import cached_property
from itertools import chain

import msgspec

from mcproxy.gateway.extensions.pages import Pages, for_models, pages_of
from mcproxy.gateway.names import aliases
from mcproxy.manifest.model import Manifest, ServerPart, outline
from mcproxy.observe.activity import estimate
from mcproxy.observe.redact import Redactor
from mcproxy.policy.access import Policy
from mcproxy.policy.namespaces import Namespace
from mcproxy.policy.tool_rules import ALLOWED, UNKNOWN, Ruling, decide, stricter
from mcproxy.types import ServerState, Tool, ToolRef

META_TOOLS = ("search", "execute", "call")  # on one surface or another, see ``surfaces``
PREFIX = "mcproxy_"  # some clients put the server's name before the tool's
_SHAPES_ONLY = Redactor()
_LISTED: Collection[ServerState] = ("ready", "idle")  # the others may have tools we do not know


class ServerOutline(msgspec.Struct, frozen=True, dict=True):
    """What is told of a server's tools, as some namespace sees them; made when first asked for."""

    part: ServerPart
    redactor: Redactor

    @cached_property
    def json(self) -> bytes:
        """What ``api.manifest()`` tells of it, without secrets."""
        return msgspec.json.encode(self.redactor.prose(outline(self.part)))

    @cached_property
    def direct(self) -> Mapping[str, Tool]:
        """The tools by the names that they have in direct mode, unless others have them too."""
        tools = self.part.tools
        items = [(self.part.view.name, name) for name in tools]
        return {alias: tools[name] for alias, (_, name) in aliases(items).items()}

    @cached_property
    def size(self) -> int:
        """The bytes of a list of its tools."""
        return sum(len(msgspec.json.encode(tool.definition)) for tool in self.part.tools.values())


class Outlines:
    """The outline of each server, the same one for all namespaces that see the same of it, and kept
    while that stays."""

    def __init__(self, redactor: Redactor, made: Iterable[ServerOutline] = ()) -> None:
        self.redactor = redactor
        # By the tools themselves: they are another object wherever they are others.
        self._made = {id(one.part.tools): one for one in made}

    def kept(self, parts: Iterable[ServerPart]) -> "Outlines":
        """The same without those that are of none of these parts."""
        ids = {id(part.tools) for part in parts}
        return Outlines(self.redactor, (self._made[id_] for id_ in ids & self._made.keys()))

    def of(self, part: ServerPart) -> ServerOutline:
        """The outline of what a namespace sees of a server."""
        key = id(part.tools)
        if key not in self._made:
            self._made[key] = ServerOutline(part, self.redactor)
        return self._made[key]


class View(msgspec.Struct, frozen=True, dict=True):
    """One namespace's part of the manifest.

    ``asked``: the tools of which each call is asked for, with the place that says so; ``asks``:
    there may be any, among those that are not known too. ``bare`` are the servers whose tools and
    prompts keep their own names in direct mode; ``prefix`` stands before the names of the gateway's
    own tools. ``redactor`` masks all but a server's own results: what is told of servers, their
    errors. Each client has a process of its own of the servers ``per_client``. ``whole`` is the
    manifest with the tools that are for pages alone, and for no model: ``manifest`` has none of
    them.
    """

    manifest: Manifest
    whole: Manifest
    redactor: Redactor
    outlines: Outlines
    namespace: Namespace
    asked: Mapping[ToolRef, Ruling]
    asks: bool
    bare: frozenset[str] = frozenset()
    prefix: str = ""
    per_client: frozenset[str] = frozenset()

    @cached_property
    def through(self) -> Mapping[str, Namespace]:
        """The namespace in which calls to a server are made, and counted, of those in sight."""
        return {server: self.namespace.through(server) for server in self.namespace.servers}

    @cached_property
    def manifest_json(self) -> bytes:
        """The JSON text behind ``api.manifest()``."""
        servers = b",".join(
            b"%b:%b" % (msgspec.json.encode(name), self.outlines.of(part).json)
            for name, part in self.manifest.parts.items()
        )
        name = msgspec.json.encode(self.namespace.name)
        return b'{"namespace":%b,"servers":{%b}}' % (name, servers)

    @cached_property
    def pages(self) -> Pages:
        """What tools have pages, and pages call."""
        return pages_of(self.whole.tools)

    @cached_property
    def direct(self) -> Mapping[str, Tool]:
        """The tools by the names under which clients in direct mode see them."""
        return self._named(())

    @cached_property
    def beside(self) -> Mapping[str, Tool]:
        """The same where the meta-tools stand beside them."""
        return self._named(
            [prefix + name for prefix in ("", PREFIX, self.prefix) for name in META_TOOLS]
        )

    @cached_property
    def direct_tokens(self) -> int:
        """About how many tokens a list of the tools themselves is."""
        parts = self.manifest.parts.values()
        return int(estimate(sum(self.outlines.of(part).size for part in parts)))

    def ruling(self, ref: ToolRef) -> Ruling:
        """What a tool comes to here, by its exact name. One that nobody knows, whose server may
        have it nevertheless since it is not up, is judged by the name alone."""
        if ref in self.asked:
            return self.asked[ref]
        part = self.manifest.parts.get(ref.server)
        if part and ref.tool in part.tools:
            return ALLOWED
        if part is None or part.view.state in _LISTED or ref.tool in self._beyond(ref.server):
            return UNKNOWN
        return decide(self.namespace.through(ref.server).tools, ref.server, ref.tool, None)

    def tool_counts(self) -> list[tuple[str, int]]:
        """The servers by name with their number of tools, the largest first."""
        counts = [(name, len(server.tools)) for name, server in self.manifest.servers.items()]
        return sorted(counts, key=lambda count: (-count[1], count[0]))

    def _beyond(self, server: str) -> Collection[str]:
        """The tools of a server that are known and not for models."""
        return self.whole.parts[server].tools.keys() - self.manifest.parts[server].tools.keys()

    def _named(self, reserved: Collection[str]) -> Mapping[str, Tool]:
        parts = self.manifest.parts
        if self.bare.isdisjoint(parts):  # then nearly always no server's names depend on another's
            named: dict[str, Tool] = {}
            for part in parts.values():
                named |= self.outlines.of(part).direct
            alone = len(named) == sum(len(part.tools) for part in parts.values())
            if alone and named.keys().isdisjoint(reserved):
                return named
        tools = {(tool.ref.server, tool.ref.tool): tool for tool in self.manifest.tools}
        return {alias: tools[item] for alias, item in aliases(tools, self.bare, reserved).items()}


class Snapshot(msgspec.Struct, frozen=True):
    """The rules and the tools at one moment; swapped as a whole, never changed."""

    policy: Policy
    views: Mapping[str, View]
    outlines: Outlines

    def parts(self) -> Mapping[str, Manifest]:
        """What each namespace and group sees of the manifest."""
        return {name: view.manifest for name, view in self.views.items()}


class Published(msgspec.Struct):
    """Where the snapshot in force is found: a request takes it once, and again after a wait."""

    snapshot: Snapshot


def take_snapshot(
    policy: Policy,
    manifest: Manifest,
    redactor: Redactor = _SHAPES_ONLY,
    before: Snapshot | None = None,
) -> Snapshot:
    """Cut the manifest into the part of each namespace and group: what is denied there is in none.

    ``before``: what of it is unchanged is taken over.
    """
    known_texts = before.outlines if before and before.outlines.redactor is redactor else None
    seen: dict[str, tuple[Manifest, Manifest, Mapping[ToolRef, Ruling]]] = {}
    for_pages = _for_pages(manifest)
    for name, namespace in policy.endpoints.items():
        reached = manifest.visible_to(namespace.servers)
        rulings = _rulings(reached, namespace)
        known = before.views.get(name) if before else None
        whole = reached.without(_denied(rulings), known.whole if known else None)
        hidden = {server: names for server, names in for_pages.items() if server in whole.parts}
        visible = whole.without(hidden, known.manifest if known else None)
        seen[name] = (visible, whole, rulings)
    parts = chain.from_iterable(visible.parts.values() for visible, _, _ in seen.values())
    outlines = (known_texts or Outlines(redactor)).kept(parts)
    views: dict[str, View] = {}
    for name, (visible, whole, rulings) in seen.items():
        namespace = policy.endpoints[name]
        asked = {ref: ruling for ref, ruling in rulings.items() if ruling.verdict == "ask"}
        asks = any(part.tools.may_ask() for part in namespace.members)
        views[name] = View(
            visible,
            whole,
            redactor,
            outlines,
            namespace,
            asked,
            asks,
            policy.bare,
            policy.surfaces.prefix,
            policy.per_client,
        )
    return Snapshot(policy, views, outlines)


def _rulings(manifest: Manifest, namespace: Namespace) -> Mapping[ToolRef, Ruling]:
    """What the tools come to, of the servers that any rule concerns."""
    rulings: dict[ToolRef, Ruling] = {}
    for server, part in manifest.parts.items():
        rules = namespace.through(server).tools
        for tool in part.source.tools if rules.concern(server) else ():
            annotations = tool.definition.get("annotations")
            ruling = decide(rules, server, tool.ref.tool, annotations)
            ref = ToolRef(server, tool.ref.tool)
            rulings[ref] = stricter(ruling, rulings.get(ref))  # a server may list a name twice
    return rulings


def _for_pages(manifest: Manifest) -> Mapping[str, Collection[str]]:
    """The tools that are for no model, by server."""
    found: dict[str, set[str]] = {}
    for tool in pages_of(manifest.tools).tools:
        if not for_models(tool):
            found.setdefault(tool.ref.server, set()).add(tool.ref.tool)
    return found


def _denied(rulings: Mapping[ToolRef, Ruling]) -> Mapping[str, Collection[str]]:
    denied: dict[str, set[str]] = {}
    for ref, ruling in rulings.items():
        if ruling.verdict == "deny":
            denied.setdefault(ref.server, set()).add(ref.tool)
    return denied
