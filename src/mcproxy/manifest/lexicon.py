"""The words of all servers in sight, which of them a query's word may mean, and what they weigh.

Owns the merge of the servers' index parts (references only; nothing is indexed anew) and the
reading of words: other endings, beginnings, words of nearly the same meaning, typing errors. Knows
no score of a tool.
"""

import math
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from itertools import product

import msgspec

from mcproxy.manifest.index import ServerIndex
from mcproxy.manifest.neighbours import Neighbours, shipped
from mcproxy.manifest.spelling import allowed_errors, edit_distance, letter_set
from mcproxy.manifest.text import singular, stem

# How fast further occurrences stop to matter (BM25's k1), in units of Field.weight.
SATURATION = 2.0
# A word that begins like the query's word says less than the word itself; a mended one loses by
# the share of its letters that was wrong.
BEGINNING = 0.4
ERROR_COST = 1.5
# A word of nearly the same meaning counts for so much of how close it is.
NEIGHBOUR = 0.9
DISTANT = 0.25
# Fewer letters than this begin too many words.
MIN_BEGINNING = 3
# Many different short words look alike: they are mended into words of names only, which keep
# their first letter or all their letters.
MIN_LONG = 6
MAX_MEANINGS = 12


class Term(msgspec.Struct, frozen=True):
    """One stem. ``tools``: what it earns the tools that have it themselves, 0-1, by number;
    ``servers``: what it earns every other tool of a server, by the server's number."""

    rarity: float
    tools: Mapping[int, float]
    servers: Mapping[int, float]


class Lexicon(msgspec.Struct, frozen=True):
    """Of one set of servers. A tool's number counts over all servers in their order.

    ``postings``: stem -> (the server's number, the server's own postings). ``server_terms``: stem
    -> (the server's number, weight). ``terms`` is filled as they are asked for.
    """

    servers: Sequence[range]  # the numbers of their tools
    server_of: Sequence[int]
    postings: Mapping[str, Sequence[tuple[int, Mapping[int, float]]]]
    server_terms: Mapping[str, Mapping[int, float]]
    written: Mapping[str, str]
    ordered: Sequence[str]
    name_words: frozenset[str]
    name_stems: Sequence[frozenset[str]]
    spellings: Mapping[tuple[int, str], Sequence[tuple[int, str]]]
    neighbours: Neighbours
    terms: dict[str, Term] = msgspec.field(default_factory=dict)

    def meanings(self, word: str) -> dict[str, float]:
        """Stems that ``word`` may mean, with how much each is trusted (0-1): only its own stem
        is trusted fully. Empty: none."""
        own = word if word in self.neighbours.phrases else stem(word)
        found = {own: 1.0} if self._has(own) else {}
        if len(word) >= MIN_BEGINNING and word.isascii():
            for longer in self._beginning_with(singular(word)):
                found.setdefault(self.written[longer], BEGINNING)
        for near, closeness in self.neighbours.of(own):
            if self._has(near):
                trust = NEIGHBOUR * (closeness - DISTANT) / (1 - DISTANT)
                found[near] = max(found.get(near, 0.0), trust)
        return found or self._mended(word)

    def _has(self, term: str) -> bool:
        return term in self.postings or term in self.server_terms

    def term(self, stem: str) -> Term:
        """What this stem is worth, and where."""
        known = self.terms.get(stem)
        if known is None:
            known = self.terms[stem] = self._weighed(stem)
        return known

    def rarity(self, having: float) -> float:
        """BM25's inverse document frequency, in the variant that is never negative."""
        return math.log(1 + (len(self.server_of) - having + 0.5) / (having + 0.5))

    def _weighed(self, stem: str) -> Term:
        of_servers = self.server_terms.get(stem, {})
        usual = len(self.server_of) / len(self.servers)
        having = sum(min(len(self.servers[server]), usual) for server in of_servers)
        tools: dict[int, float] = {}
        for server, posting in self.postings.get(stem, ()):
            first, shared = self.servers[server].start, of_servers.get(server, 0.0)
            having += 0 if shared else len(posting)
            for number, weight in posting.items():
                tools[first + number] = _saturated(weight + shared)
        servers = {server: _saturated(weight) for server, weight in of_servers.items()}
        return Term(self.rarity(having), tools, servers)

    def _beginning_with(self, head: str) -> Iterator[str]:
        at = bisect_left(self.ordered, head)
        for word in self.ordered[at : at + MAX_MEANINGS]:
            if not word.startswith(head):
                return
            yield word

    def _mended(self, word: str) -> dict[str, float]:
        errors = allowed_errors(word)
        near = [
            (distance, other)
            for other in self._spelt_like(word, errors)
            if (distance := edit_distance(word, other, errors)) <= errors
        ]
        best = min(near, default=(0, ""))[0]
        trust = 1 - ERROR_COST * best / len(word)
        chosen = sorted(other for distance, other in near if distance == best)
        return {self.written[other]: trust for other in chosen[:MAX_MEANINGS]}

    def _spelt_like(self, word: str, errors: int) -> Iterator[str]:
        """Words that may be within ``errors`` edits, by length, first letter and letters used.

        People rarely mistype the first letter; they do swap the first two.
        """
        letters = letter_set(word)
        lengths = range(len(word) - errors, len(word) + errors + 1) if errors else ()
        for length, first in product(lengths, frozenset(word[:2])):
            # an edit changes two letters, one that changes the length only one
            most = 2 * errors - abs(length - len(word))
            for other_letters, other in self.spellings.get((length, first), ()):
                alike = (letters ^ other_letters).bit_count() <= most
                if alike and (len(word) >= MIN_LONG or self._plausible(word, other)):
                    yield other

    def _plausible(self, word: str, other: str) -> bool:
        same_letters = sorted(word) == sorted(other)
        return other in self.name_words and (word[0] == other[0] or same_letters)


def _saturated(weight: float) -> float:
    return weight / (weight + SATURATION)


def merge(indexes: Sequence[ServerIndex]) -> Lexicon:
    """The lexicon of these servers: a few ms for thousands of tools, once for a set of servers."""
    postings: dict[str, list[tuple[int, Mapping[int, float]]]] = {}
    server_terms: dict[str, dict[int, float]] = {}
    written: dict[str, str] = {}
    name_words: set[str] = set()
    name_stems: list[frozenset[str]] = []
    servers: list[range] = []
    server_of: list[int] = []
    for server, index in enumerate(indexes):
        tools = range(len(name_stems), len(name_stems) + len(index.name_stems))
        servers.append(tools)
        server_of.extend([server] * len(tools))
        for term, posting in index.postings.items():
            postings.setdefault(term, []).append((server, posting))
        for term, weight in index.server_terms.items():
            server_terms.setdefault(term, {})[server] = weight
        written.update(index.written)
        name_words |= index.name_words
        name_stems.extend(index.name_stems)
    spellings: dict[tuple[int, str], list[tuple[int, str]]] = {}
    for word in written:
        spellings.setdefault((len(word), word[0]), []).append((letter_set(word), word))
    return Lexicon(
        servers=servers,
        server_of=server_of,
        postings=postings,
        server_terms=server_terms,
        written=written,
        ordered=sorted(written),
        name_words=frozenset(name_words),
        name_stems=name_stems,
        spellings=spellings,
        neighbours=shipped(),
    )
