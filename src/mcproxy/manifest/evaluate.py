"""How well ``search`` finds the tools of one catalogue, and why it does not find some. Pure.

Nobody has said what people will ask for, so requests are made of what the tools say of themselves:
the first sentence of a description, without the words of the tool's and the server's name and
without those that no other tool has, since a person who knew these would hardly search. So what is
measured is how well the rest of the words tells a tool from its neighbours.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from mcproxy.manifest.find import find
from mcproxy.manifest.index import identifier_words
from mcproxy.manifest.model import Manifest
from mcproxy.manifest.text import STOP_WORDS, first_sentence, stem, words
from mcproxy.types import Tool, ToolRef

FOUND_AT = 5  # a tool counts as found up to this rank
MAX_WORDS = 12  # of a request
# Where fewer words are left, the request keeps those of the names: "list branches" is all that
# anybody would say.
LEAST_WORDS = 3
# A word of so many tools, and of such a share of them, tells none of them apart.
GENERIC_TOOLS, GENERIC_SHARE = 10, 0.05
MAX_INSTEAD = 3


class Evaluated(msgspec.Struct, frozen=True):
    """What became of one tool. ``reason``: why it is not found, empty where it is; ``instead``:
    what stands in its place, best first."""

    ref: ToolRef
    request: str
    reason: str = ""
    instead: tuple[ToolRef, ...] = ()

    @property
    def found(self) -> bool:
        """Among the first ``FOUND_AT``."""
        return not self.reason


def evaluate(manifest: Manifest) -> tuple[Evaluated, ...]:
    """Each tool in the manifest's order; about 2 ms a tool."""
    spoken = Counter(term for tool in manifest.tools for term in _spoken(tool))
    return tuple(_evaluated(manifest, tool, spoken) for tool in manifest.tools)


def recall(tools: Iterable[Evaluated]) -> float:
    """The share that is found; of no tools all."""
    found = [tool.found for tool in tools]
    return sum(found) / len(found) if found else 1.0


def by_server(tools: Iterable[Evaluated]) -> Mapping[str, Sequence[Evaluated]]:
    """The servers in order, with their tools."""
    servers: dict[str, list[Evaluated]] = {}
    for tool in tools:
        servers.setdefault(tool.ref.server, []).append(tool)
    return servers


def _evaluated(manifest: Manifest, tool: Tool, spoken: Mapping[str, int]) -> Evaluated:
    asked = request_words(tool, spoken)
    request = " ".join(asked)
    if not asked:
        return Evaluated(tool.ref, request, "no description")
    first = [hit.tool.ref for hit in find(manifest, request, alone=False).hits[:FOUND_AT]]
    if tool.ref in first:
        return Evaluated(tool.ref, request)
    instead = tuple(first[:MAX_INSTEAD])
    generic = max(GENERIC_TOOLS, GENERIC_SHARE * manifest.tool_count)
    if not instead or all(spoken[stem(word)] >= generic for word in asked):
        return Evaluated(tool.ref, request, "only generic words", instead)
    reason = f"collides with {instead[0].server}.{instead[0].tool}"
    return Evaluated(tool.ref, request, reason, instead)


def request_words(tool: Tool, spoken: Mapping[str, int]) -> list[str]:
    """The words to search a tool by. ``spoken``: how many tools have a stem."""
    said = first_sentence(_description(tool))
    telling = [word for word in dict.fromkeys(words(said)) if word not in STOP_WORDS]
    named = identifier_words(tool.ref.server) + identifier_words(tool.ref.tool)
    own = frozenset(map(stem, named))
    shared = [word for word in telling if stem(word) not in own and spoken[stem(word)] > 1]
    return (shared if len(shared) >= LEAST_WORDS else telling)[:MAX_WORDS]


def _spoken(tool: Tool) -> frozenset[str]:
    return frozenset(map(stem, [*identifier_words(tool.ref.tool), *words(_description(tool))]))


def _description(tool: Tool) -> str:
    said = tool.definition.get("description")
    return said if isinstance(said, str) else ""
