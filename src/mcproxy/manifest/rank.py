"""Which tools a query means, best first, with scores that compare across servers.

Owns the formula: BM25F over the parts' weights, divided by what a perfect match would earn. A word
of the query that no tool knows counts as rare and missed, so a query that is mostly not about
these tools scores low everywhere, and that is told apart from a real match. Nothing is left out
for being far behind the best: that is for whoever shows the list. Knows no depth, no budget and no
JSON.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from heapq import nlargest
from itertools import islice

import msgspec

from mcproxy.manifest.bounds import MAX_MATCHES, MAX_QUERY_WORDS
from mcproxy.manifest.lexicon import Lexicon
from mcproxy.manifest.text import STOP_WORDS, parts, stem, words

# The share of a score that says how much of the tool's own name the query speaks of.
NAME_SHARE = 0.25
# The best tool is a real match from this score on. A long query says much that no single tool is
# about, so its floor is lower. Chosen by hand on public catalogues: higher loses real tasks, lower
# lets nonsense through.
FLOOR, FLOOR_OF_LONG = 0.15, 0.7
# Of a query of few words it has some part at least; and where these tools hardly know the words,
# whichever tool has them, more than a little of it. Or it has most of what was asked, though deep
# in a long description.
FEW_WORDS, PART, MOST, FLOOR_OF_MOST = 3, 0.2, 0.65, 0.12
HARDLY_KNOWN, FLOOR_OF_UNKNOWN = 0.7, 0.22
# "Get rid of" has three words; no phrase of the table has more than these. Of a text so many words
# are read: enough for ``MAX_QUERY_WORDS`` that tell something.
MAX_PHRASE, MAX_PHRASED_WORDS = 4, 4 * MAX_QUERY_WORDS


class Match(msgspec.Struct, frozen=True):
    """One tool by its number in the lexicon; ``score`` is 0-1."""

    number: int
    score: float


class Ranking(msgspec.Struct, frozen=True):
    """Best first. ``total``: how many tools share a word with the query, which may be more than
    are listed. ``real`` False: they share a word with it, no more."""

    matches: tuple[Match, ...] = ()
    total: int = 0
    real: bool = False


class AskedWord(msgspec.Struct, frozen=True):
    """One word of the query: what it earns tools that have it themselves, and all other tools of
    servers that have it; the most that it could earn; how far its reading is trusted."""

    tools: Mapping[int, float]
    servers: Mapping[int, float]
    worth: float
    trust: float


def query_words(query: str, phrases: Collection[str] = ()) -> list[str]:
    """The distinct words that carry the query's meaning; all of them if none seems to. Words that
    are one of the ``phrases`` together count as one, written as there."""
    found: list[str] = []
    for chunk in query.split():
        is_name = chunk[:1].islower() or "_" in chunk  # "GitHub" is one word, "VPS_getList" three
        found.extend(parts(chunk) if is_name else words(chunk))
    if phrases:
        found = list(_joined(found[:MAX_PHRASED_WORDS], phrases))
    telling = [word for word in found if word not in STOP_WORDS]
    return list(dict.fromkeys(telling or found))[:MAX_QUERY_WORDS]


def _joined(found: Sequence[str], phrases: Collection[str]) -> Iterator[str]:
    """The words, those of a phrase as one; the longest phrase that begins at a word counts."""
    stems = [stem(word) for word in found]
    at = 0
    while at < len(found):
        lengths = range(min(MAX_PHRASE, len(found) - at), 1, -1)
        tries = ((length, " ".join(stems[at : at + length])) for length in lengths)
        length, word = next((one for one in tries if one[1] in phrases), (1, found[at]))
        yield word
        at += length


def rank(lexicon: Lexicon, query: str) -> Ranking:
    """The tools that share words with the query; equal scores in the servers' order."""
    meanings = [lexicon.meanings(word) for word in query_words(query, lexicon.neighbours.phrases)]
    asked = [earnings(lexicon, meaning) for meaning in meanings]
    totals = _totals(lexicon, asked)
    best = _best(totals)
    if not best:
        return Ranking()
    perfect = sum(word.worth for word in asked)
    spoken_of = spoken(meanings)
    matches = [
        Match(number, totals[number] / perfect * name_factor(lexicon.name_stems[number], spoken_of))
        for number in best
    ]
    matches.sort(key=lambda match: (-match.score, match.number))
    first = matches[0].number
    covered = _covered(asked, first, lexicon.server_of[first])
    known = sum(word.worth * word.trust for word in asked) / perfect
    names_it = _stands_in_query(lexicon.name_stems[first], spoken_of)
    real = names_it or _is_real(len(asked), matches[0].score, covered, known)
    return Ranking(tuple(matches), len(totals) - totals.count(0.0), real)


def _totals(lexicon: Lexicon, asked: Sequence[AskedWord]) -> list[float]:
    """What all words together earn each tool, by its number: through its server, and beyond that
    by itself."""
    totals = [0.0] * len(lexicon.server_of)
    of_servers: dict[int, float] = {}
    for word in asked:
        for server, earned in word.servers.items():
            of_servers[server] = of_servers.get(server, 0.0) + earned
        for number, earned in _beyond_servers(lexicon.server_of, word):
            totals[number] += earned
    for server, earned in of_servers.items():
        for number in lexicon.servers[server]:
            totals[number] += earned
    return totals


def _beyond_servers(server_of: Sequence[int], word: AskedWord) -> Iterable[tuple[int, float]]:
    """What the word earns tools themselves, beyond what it earns all tools of their servers."""
    shared = word.servers
    if not shared:  # most words; nothing to look up
        return word.tools.items()
    beyond = (
        (number, earned - shared.get(server_of[number], 0.0))
        for number, earned in word.tools.items()
    )
    return (one for one in beyond if one[1] > 0.0)


def _best(totals: Sequence[float]) -> list[int]:
    """The numbers of the tools that earned most, of equal ones the first."""
    least = min(nlargest(MAX_MATCHES, totals), default=0.0)
    above = [number for number, earned in enumerate(totals) if earned > least]
    equal = (number for number, earned in enumerate(totals) if earned == least > 0.0)
    return above + list(islice(equal, MAX_MATCHES - len(above)))


def spoken(meanings: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
    """The stems that the query speaks of, with how far each is trusted."""
    found: dict[str, float] = {}
    for meaning in meanings:
        for term, trust in meaning.items():
            found[term] = max(found.get(term, 0.0), trust)
    return found


def earnings(lexicon: Lexicon, meanings: Mapping[str, float]) -> AskedWord:
    """A word is as rare as the stem that it most probably means; nothing else that it may mean,
    such as a longer word, makes it rarer. Each tool gets the best of its meanings."""
    if not meanings:
        return AskedWord({}, {}, lexicon.rarity(0), 0.0)
    terms = {term: lexicon.term(term) for term in meanings}
    most_likely = max(meanings, key=lambda term: meanings[term])
    worth = terms[most_likely].rarity
    tools: dict[int, float] = {}
    servers: dict[int, float] = {}
    for term, trust in meanings.items():
        most = trust * min(terms[term].rarity, worth)
        _raise_to(tools, most, terms[term].tools)
        _raise_to(servers, most, terms[term].servers)
    return AskedWord(tools, servers, worth, meanings[most_likely])


def _raise_to(earned: dict[int, float], most: float, shares: Mapping[int, float]) -> None:
    """Have each at least at its share of the most."""
    if not earned:
        earned.update({number: most * share for number, share in shares.items()})
        return
    known = earned.get
    for number, share in shares.items():
        more = most * share
        if more > known(number, 0.0):
            earned[number] = more


def name_factor(name: frozenset[str], spoken_of: Mapping[str, float]) -> float:
    """What a score is multiplied with for the share of the tool's name that the query speaks of."""
    covered = sum(spoken_of.get(term, 0.0) for term in name) / len(name) if name else 0.0
    return 1 - NAME_SHARE + NAME_SHARE * covered


def _stands_in_query(name: frozenset[str], spoken_of: Mapping[str, float]) -> bool:
    """Whether a name of several words stands in the query, in whatever order: what else the query
    says may be values, such as names that no tool knows."""
    return len(name) > 1 and all(spoken_of.get(term) == 1.0 for term in name)


def _is_real(asked: int, score: float, covered: float, known: float) -> bool:
    """Whether a tool is what a query of so many words means; it has the share ``covered`` of them,
    all tools together the share ``known``."""
    few = asked <= FEW_WORDS
    if few and known < HARDLY_KNOWN and score < FLOOR_OF_UNKNOWN:
        return False
    if covered >= MOST and score >= FLOOR_OF_MOST:
        return True
    floor = min(FLOOR, FLOOR_OF_LONG / math.pow(asked, 1.5))
    return score >= floor and (covered >= PART or not few)


def _covered(asked: Sequence[AskedWord], number: int, server: int) -> float:
    """The share of what was asked that the tool has at all, however little it weighs there."""
    perfect = sum(word.worth for word in asked)
    had = (word for word in asked if number in word.tools or server in word.servers)
    return sum(word.worth * word.trust for word in had) / perfect
