"""The words of all servers in sight, and which of them a query's word may mean.

Owns the merge of the servers' index parts (references only; nothing is indexed anew) and the
reading of unknown words: other endings, beginnings, typing errors. Knows no score of a tool.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from mcproxy.manifest.index import ServerIndex
from mcproxy.manifest.spelling import allowed_errors, edit_distance, letter_set
from mcproxy.manifest.text import singular, stem

# A word that begins like the query's word says less than the word itself; a mended one loses by
# the share of its letters that was wrong.
BEGINNING = 0.4
ERROR_COST = 1.5
# Fewer letters than this begin too many words.
MIN_BEGINNING = 3
# Many different short words look alike: they are mended into words of names only, which keep
# their first letter or all their letters.
MIN_LONG = 6
MAX_MEANINGS = 12


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Read-only, of one set of servers. A tool's number counts over all servers in their order.

    ``postings``: stem -> (first tool number of the server, the server's own postings).
    ``server_terms``: stem -> (tool numbers of the server, weight).
    """

    tool_count: int
    postings: Mapping[str, Sequence[tuple[int, Mapping[int, float]]]]
    server_terms: Mapping[str, Sequence[tuple[range, float]]]
    written: Mapping[str, str]
    ordered: Sequence[str]
    name_words: frozenset[str]
    name_stems: Sequence[frozenset[str]]
    spellings: Mapping[tuple[int, str], Sequence[tuple[int, str]]]

    def meanings(self, word: str) -> dict[str, float]:
        """Stems that ``word`` may mean, with how much each is trusted (0-1). Empty: none."""
        own = stem(word)
        found = {own: 1.0} if own in self.postings or own in self.server_terms else {}
        if len(word) >= MIN_BEGINNING and word.isascii():
            for longer in self._beginning_with(singular(word)):
                found.setdefault(self.written[longer], BEGINNING)
        return found or self._mended(word)

    def weights(self, term: str) -> dict[int, float]:
        """Tool number -> weight of this stem there."""
        found = {
            first + number: weight
            for first, posting in self.postings.get(term, ())
            for number, weight in posting.items()
        }
        for numbers, weight in self.server_terms.get(term, ()):
            for number in numbers:
                found[number] = found.get(number, 0.0) + weight
        return found

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


def merge(indexes: Sequence[ServerIndex]) -> Lexicon:
    """The lexicon of these servers: a few ms for thousands of tools, once for a set of servers."""
    postings: dict[str, list[tuple[int, Mapping[int, float]]]] = {}
    server_terms: dict[str, list[tuple[range, float]]] = {}
    written: dict[str, str] = {}
    name_words: set[str] = set()
    name_stems: list[frozenset[str]] = []
    first = 0
    for index in indexes:
        after = first + len(index.name_stems)
        for term, posting in index.postings.items():
            postings.setdefault(term, []).append((first, posting))
        for term, weight in index.server_terms.items():
            server_terms.setdefault(term, []).append((range(first, after), weight))
        written.update(index.written)
        name_words |= index.name_words
        name_stems.extend(index.name_stems)
        first = after
    spellings: dict[tuple[int, str], list[tuple[int, str]]] = {}
    for word in written:
        spellings.setdefault((len(word), word[0]), []).append((letter_set(word), word))
    return Lexicon(
        tool_count=first,
        postings=postings,
        server_terms=server_terms,
        written=written,
        ordered=sorted(written),
        name_words=frozenset(name_words),
        name_stems=name_stems,
        spellings=spellings,
    )
