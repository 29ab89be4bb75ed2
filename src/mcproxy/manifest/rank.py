"""Which tools a query means, best first, with scores that compare across servers.

Owns the formula: BM25F over the parts' weights, divided by what a perfect match would earn. A word
of the query that no tool knows counts as rare and missed, so a query that is mostly not about
these tools scores low everywhere, and that is told apart from a real match. Knows no depth, no
budget and no JSON.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mcproxy.manifest.lexicon import Lexicon
from mcproxy.manifest.text import STOP_WORDS, parts, words

# How fast further occurrences stop to matter (BM25's k1), in units of Field.weight.
SATURATION = 2.0
# The share of a score that says how much of the tool's own name the query speaks of.
NAME_SHARE = 0.25
# The best tool is a real match from this score on. A long query says much that no single tool is
# about, so its floor is lower. Chosen by hand on public catalogues: higher loses real tasks, lower
# lets nonsense through.
FLOOR, FLOOR_OF_LONG = 0.15, 0.7
# Or if it has most of what was asked, though deep in a long description.
COVERED = 0.6
# A tool this far behind the best one only costs the reader tokens.
LEAST_SHARE_OF_BEST = 0.4
# Words beyond these add time and no meaning.
MAX_QUERY_WORDS = 40


@dataclass(frozen=True, slots=True)
class Match:
    """One tool by its number in the lexicon; ``score`` is 0-1."""

    number: int
    score: float


@dataclass(frozen=True, slots=True)
class Ranking:
    """Best first. ``real`` False: these share a word with the query, no more."""

    matches: tuple[Match, ...] = ()
    real: bool = False


@dataclass(frozen=True, slots=True)
class _Word:
    """One word of the query: what it earns each tool, and the most that it could earn."""

    earned: Mapping[int, float]
    worth: float
    trust: float


def query_words(query: str) -> list[str]:
    """The distinct words that carry the query's meaning; all of them if none seems to."""
    found: list[str] = []
    for chunk in query.split():
        found.extend(parts(chunk) if chunk[:1].islower() else words(chunk))
    telling = [word for word in found if word not in STOP_WORDS]
    return list(dict.fromkeys(telling or found))[:MAX_QUERY_WORDS]


def rank(lexicon: Lexicon, query: str) -> Ranking:
    """The tools that share words with the query; equal scores in the servers' order."""
    meanings = [lexicon.meanings(word) for word in query_words(query)]
    asked = [_earnings(lexicon, meaning) for meaning in meanings]
    perfect = sum(word.worth for word in asked)
    totals: dict[int, float] = {}
    for word in asked:
        for number, earned in word.earned.items():
            totals[number] = totals.get(number, 0.0) + earned
    if not totals:
        return Ranking()
    spoken_of = frozenset(term for meaning in meanings for term in meaning)
    scores = {
        number: total / perfect * _name_factor(lexicon.name_stems[number], spoken_of)
        for number, total in totals.items()
    }
    least = max(scores.values()) * LEAST_SHARE_OF_BEST
    matches = [Match(number, score) for number, score in scores.items() if score >= least]
    matches.sort(key=lambda match: (-match.score, match.number))
    real = matches[0].score >= _floor(len(asked)) or _covered(asked, matches[0]) >= COVERED
    return Ranking(tuple(matches), real)


def _earnings(lexicon: Lexicon, meanings: Mapping[str, float]) -> _Word:
    earned: dict[int, float] = {}
    worth = 0.0
    for term, trust in meanings.items():
        weights = lexicon.weights(term)
        rarity = _rarity(lexicon.tool_count, len(weights))
        worth = max(worth, rarity)
        for number, weight in weights.items():
            score = trust * rarity * weight / (weight + SATURATION)
            if score > earned.get(number, 0.0):
                earned[number] = score
    most_trusted = max(meanings.values(), default=0.0)
    return _Word(earned, worth or _rarity(lexicon.tool_count, 0), most_trusted)


def _rarity(tools: int, having: int) -> float:
    """The inverse document frequency of BM25, in the variant that is never negative."""
    return math.log(1 + (tools - having + 0.5) / (having + 0.5))


def _name_factor(name: frozenset[str], spoken_of: frozenset[str]) -> float:
    covered = len(name & spoken_of) / len(name) if name else 0.0
    return 1 - NAME_SHARE + NAME_SHARE * covered


def _floor(asked: int) -> float:
    return min(FLOOR, FLOOR_OF_LONG / math.pow(asked, 1.5))


def _covered(asked: Sequence[_Word], match: Match) -> float:
    """The share of what was asked that the tool has at all, however little it weighs there."""
    perfect = sum(word.worth for word in asked)
    return sum(word.worth * word.trust for word in asked if match.number in word.earned) / perfect
