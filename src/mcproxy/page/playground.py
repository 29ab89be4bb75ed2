"""What a model gets for a query, what it costs, and why. Pure."""

import msgspec

from mcproxy.manifest.bounds import TOOLS
from mcproxy.manifest.explain import Explanation, explain
from mcproxy.manifest.find import EXACT, find
from mcproxy.manifest.learned import unlearned
from mcproxy.manifest.model import Manifest
from mcproxy.manifest.names import call_line
from mcproxy.manifest.render import worth_reading
from mcproxy.manifest.reply_text import as_text
from mcproxy.manifest.search import search
from mcproxy.observe.activity import estimate
from mcproxy.types import Tool

SHOWN = 20  # tools that are explained, whether the model sees them or not


class Candidate(msgspec.Struct, frozen=True):
    """A tool that matches. ``visible``: the model gets it; ``exact``: the query is its name."""

    tool: Tool
    score: float
    call: str
    visible: bool
    exact: bool
    why: Explanation


class Played(msgspec.Struct, frozen=True):
    """``text`` is the reply as a model gets it, of about so many ``tokens``."""

    text: str
    tokens: int
    total: int
    candidates: tuple[Candidate, ...]
    suggestions: tuple[str, ...]


def played(manifest: Manifest, namespace: str, query: str) -> Played:
    """Search as a model would, and explain it."""
    reply = search(manifest, query, namespace=namespace)
    text = as_text(reply)
    found = find(manifest, query, alone=False)
    hits = found.hits[:SHOWN]
    numbers = {tool.ref: number for number, tool in enumerate(manifest.tools)}
    why = explain(manifest.lexicon, query, [numbers[hit.tool.ref] for hit in hits])
    chosen, _ = worth_reading(found.hits, TOOLS, unlearned)
    visible = {hit.tool.ref for hit in chosen}
    suggestions = reply.get("suggestions")
    return Played(
        text,
        round(estimate(len(text.encode()))),
        found.total,
        tuple(
            Candidate(
                hit.tool,
                hit.score,
                call_line(hit.tool),
                hit.tool.ref in visible,
                hit.score == EXACT,
                why[numbers[hit.tool.ref]],
            )
            for hit in hits
        ),
        tuple(str(one) for one in suggestions) if isinstance(suggestions, list) else (),
    )
