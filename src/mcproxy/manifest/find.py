"""Which tools answer a query: exact names first, then the ranking. Pure.

Owns what counts as an exact name. ``rank`` rates words, ``names`` knows the forms of a name.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

import msgspec
from msgspec.structs import replace

from mcproxy.manifest.bounds import MAX_NAMES, MAX_QUERY_CHARS
from mcproxy.manifest.model import Manifest, ServerPart
from mcproxy.manifest.names import forms_of
from mcproxy.manifest.rank import Match, query_words, rank
from mcproxy.manifest.text import parts, snake, stem
from mcproxy.types import Tool, ToolRef

# Only a tool that was named has a score of 1. Where the query is a server's name, that server's
# tools come before those that mention it: their scores are squeezed into the top.
EXACT, MOST_OF_OTHERS, SERVER_NAMED = 1.0, 0.99, 0.9

# A word that can only be a name: ``repos.list``, ``repos_list``, ``github:list``, ``reposList``.
_NAME_LIKE = re.compile(r"\w+(?:[.:/_-]+\w+)+|[a-z0-9]+[A-Z]\w*")
_AROUND_A_NAME = "`'\"()[]{}<>,;.:!?"


class Hit(msgspec.Struct, frozen=True):
    """One tool to show, with its score (0-1)."""

    part: ServerPart
    tool: Tool
    score: float


class FoundTool(msgspec.Struct, frozen=True):
    """``hits``: best first; ``total``: how many tools match, listed or not. ``bare``: servers that
    the query names and that have no tools now.

    ``weak``: where there is no hit, the tools that share a word with the query.
    """

    hits: tuple[Hit, ...] = ()
    total: int = 0
    bare: tuple[ServerPart, ...] = ()
    weak: tuple[Tool, ...] = ()


def find(manifest: Manifest, query: str, *, alone: bool) -> FoundTool:
    """What the query finds. ``alone``: a tool whose exact name is the query hides all others."""
    query = query[:MAX_QUERY_CHARS]
    named = _exact(manifest, query)
    if named and alone:
        return FoundTool(_hits(manifest, named, ()), len(named))
    bare_words = (word.strip(_AROUND_A_NAME) for word in query.split())
    for name in islice(filter(_NAME_LIKE.fullmatch, bare_words), MAX_NAMES):
        named.update(_exact(manifest, name))
    ranking = rank(manifest.lexicon, query)
    bare = tuple(_bare(manifest, query))
    if ranking.real or named:
        matches = ranking.matches if ranking.real else ()
        hits = _hits(manifest, named, _server_first(manifest, query, matches))
        unlisted = ranking.total - len(ranking.matches) if ranking.real else 0
        return FoundTool(hits, len(hits) + unlisted, bare)
    weak = tuple(manifest.tools[match.number] for match in ranking.matches)
    return FoundTool(bare=bare, weak=() if bare else weak)


def _exact(manifest: Manifest, name: str) -> dict[ToolRef, Tool]:
    """The tools that ``name`` is the name of, in any form, with or without their server.

    Those spelt just so come first. Several words are a name only where they are spelt just so.
    """
    bare_name = name.strip().strip(_AROUND_A_NAME)
    forms = forms_of(bare_name) if len(bare_name.split()) == 1 else ()
    found = [tool for form in filter(None, forms) for tool in manifest.named.get(form, ())]
    for part in manifest.parts.values():
        if forms and forms[0].startswith(f"{part.form}_"):
            after = forms_of(forms[0].removeprefix(f"{part.form}_"))
            names = (one for form in after for one in part.forms.get(form, ()))
            found.extend(part.tools[one] for one in names)
    just_so = [tool for tool in found if bare_name.endswith(tool.ref.tool)]
    for spelling in dict.fromkeys((name, name.strip())):
        same = manifest.named.get(snake(spelling), ())
        just_so.extend(tool for tool in same if tool.ref.tool == spelling)
    return {tool.ref: tool for tool in (*just_so, *found)}


def _bare(manifest: Manifest, query: str) -> Iterator[ServerPart]:
    terms = {stem(word) for word in query_words(query)}
    for part in manifest.parts.values():
        if not part.tools and not terms.isdisjoint(map(stem, parts(part.view.name))):
            yield part


def _server_first(manifest: Manifest, query: str, matches: Iterable[Match]) -> tuple[Match, ...]:
    """The matches, those of the server that the query is the name of lifted above the others."""
    form = snake(query)
    lifted = [
        replace(match, score=SERVER_NAMED + (MOST_OF_OTHERS - SERVER_NAMED) * match.score)
        if manifest.parts[manifest.tools[match.number].ref.server].form == form
        else match
        for match in matches
    ]
    return tuple(sorted(lifted, key=lambda match: -match.score))


def _hits(
    manifest: Manifest, named: Mapping[ToolRef, Tool], matches: Iterable[Match]
) -> tuple[Hit, ...]:
    first = [Hit(manifest.parts[ref.server], tool, EXACT) for ref, tool in named.items()]
    ranked = ((manifest.tools[match.number], match.score) for match in matches)
    others = [
        Hit(manifest.parts[tool.ref.server], tool, min(score, MOST_OF_OTHERS))
        for tool, score in ranked
        if tool.ref not in named
    ]
    return (*first, *others)
