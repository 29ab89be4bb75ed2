"""``search``: from a query to the reply that a model reads, within its budget. Pure.

Owns the outline of the reply. Which tools answer is ``find``'s, how
entries look is ``render``'s. A manifest holds what the caller may see and nothing else, so nothing
here can tell about the rest.
"""

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from mcproxy.manifest.bounds import (
    BUDGETS,
    DEFAULT_DEPTH,
    ECHO_PART,
    MAX_LIMIT,
    MAX_SUGGESTED_SERVERS,
    MAX_SUGGESTED_TOOLS,
    MIN_ECHO_BYTES,
    SCHEMAS,
    TOOLS,
    TRUNCATED_BYTES,
)
from mcproxy.manifest.find import find
from mcproxy.manifest.learned import Returns, unlearned
from mcproxy.manifest.model import Manifest
from mcproxy.manifest.render import (
    Shown,
    fitting,
    show_names,
    show_servers,
    show_tools,
    worth_reading,
)
from mcproxy.manifest.text import brief
from mcproxy.manifest.truncate import size
from mcproxy.types import Json, JsonObject, Tool


class BadSearch(ValueError):
    """The arguments cannot be meant; the text says what to send instead."""


def search(
    manifest: Manifest,
    query: str,
    *,
    namespace: str,
    max_depth: int = DEFAULT_DEPTH,
    limit: int | None = None,
    returns: Returns = unlearned,
) -> JsonObject:
    """The reply to ``search`` as JSON; ``reply_text`` makes text of it. Raises BadSearch.

    ``limit``: at most so many tools; None: as many as are worth reading. ``returns``: what was
    learned of the results of tools that declare nothing of them.
    """
    _check(query, max_depth, limit)
    asked = _Asked(query, namespace, max_depth)
    if _is_empty(query):
        return _everything(manifest, asked)
    found = find(manifest, query, alone=max_depth == SCHEMAS)
    if not found.hits and not found.bare:
        return _nothing(manifest, asked, found.weak)
    chosen, also = (
        worth_reading(found.hits, max_depth, returns) if limit is None else (found.hits[:limit], {})
    )
    best = replace(found, hits=tuple(chosen))
    parts = list({hit.part.view.name: hit.part for hit in best.hits}.values())
    parts.extend(found.bare)
    reply, room = asked.frame(found.total, len(parts))
    if max_depth < TOOLS:
        return _filled(reply, max_depth, show_servers(parts, max_depth, room))
    if also:
        reply, room = {**reply, "also": also}, room - size(also)
    return _filled(reply, max_depth, show_tools(best, max_depth, room, returns))


class _Asked(msgspec.Struct, frozen=True):
    query: str
    namespace: str
    max_depth: int

    def frame(self, total_matches: int, servers: int) -> tuple[JsonObject, int]:
        """The reply without results, and the bytes that these may take."""
        base, each = BUDGETS[self.max_depth]
        budget = base + each * servers
        echo = self.query.encode(errors="replace").decode()
        longest = max(budget // ECHO_PART, MIN_ECHO_BYTES)
        if size(echo) > longest:  # half: each character may need a backslash
            echo = brief("".join(char for char in echo if char.isprintable()), longest // 2)
        reply: JsonObject = {
            "query": echo,
            "namespace": self.namespace,
            "max_depth": self.max_depth,
            "results": [],
            "total_matches": total_matches,
        }
        return reply, budget - size(reply) - TRUNCATED_BYTES[self.max_depth]


def _filled(reply: JsonObject, depth: int, shown: Shown) -> JsonObject:
    return {**reply, "results": shown.entries, **shown.truncated(depth)}


def _everything(manifest: Manifest, asked: _Asked) -> JsonObject:
    parts = list(manifest.parts.values())
    reply, room = asked.frame(manifest.tool_count, len(parts))
    if asked.max_depth == TOOLS:
        return _filled(reply, TOOLS, show_names(parts, room))
    return _filled(reply, asked.max_depth, show_servers(parts, asked.max_depth, room))


def _nothing(manifest: Manifest, asked: _Asked, weak: Sequence[Tool]) -> JsonObject:
    """No match: say so, and what to try."""
    reply, room = asked.frame(0, len(manifest.parts))
    names = list(manifest.parts)
    suggestions: list[Json] = [
        f"{tool.ref.server}.{tool.ref.tool}" for tool in weak[:MAX_SUGGESTED_TOOLS]
    ]
    more = ", …" if len(names) > MAX_SUGGESTED_SERVERS else ""
    listed = ", ".join(names[:MAX_SUGGESTED_SERVERS]) + more
    if names:
        suggestions.append('query "" with max_depth 1 describes every server')
        suggestions.append(f"servers here: {listed}")
    else:
        suggestions.append(f"namespace {asked.namespace!r} has no server; use another namespace")
    return {**reply, "suggestions": fitting(suggestions, room)}


def _is_empty(query: str) -> bool:
    return query.strip() in {"", "*"}


def _check(query: str, max_depth: int, limit: int | None) -> None:
    if not 0 <= max_depth <= SCHEMAS:
        raise BadSearch(
            f"max_depth is {max_depth}; use 0 (server names), 1 (servers described), "
            "2 (tools with their call, the default) or 3 (full schemas)."
        )
    if limit is not None and not 1 <= limit <= MAX_LIMIT:
        raise BadSearch(
            f"limit is {limit}; use 1 to {MAX_LIMIT} tools, or leave it out for the best ones."
        )
    if max_depth == SCHEMAS and _is_empty(query):
        raise BadSearch(
            "max_depth 3 shows full schemas and needs a query, for example a tool's name; "
            "an empty query works with max_depth 0, 1 or 2 and lists every server."
        )
