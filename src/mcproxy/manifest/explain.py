"""Why a search found what it found: each word's share of a tool's score. Pure.

Reads the same lexicon by the same rules as ``rank``, whose scores it takes apart; a test holds that
the shares of a tool add up to its score.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from mcproxy.manifest.lexicon import Lexicon
from mcproxy.manifest.rank import earnings, name_factor, query_words, spoken
from mcproxy.manifest.text import stem


class WordShare(msgspec.Struct, frozen=True):
    """What a word of the query gave a tool: ``share`` of its score (0-1), by ``meaning``, which the
    tool itself has, or its server only. A share of 0: the tool has nothing of the word."""

    word: str
    share: float
    meaning: str = ""
    where: Literal["tool", "server", ""] = ""

    @property
    def is_other(self) -> bool:
        """Whether the word itself is not there, but another form or a word that means the same."""
        return bool(self.meaning) and self.meaning != stem(self.word)


class Explanation(msgspec.Struct, frozen=True):
    """``words``: in the order of the query. ``of_name``: how much of the tool's own name the query
    speaks of (0-1); what it does not lowers the score."""

    words: tuple[WordShare, ...]
    of_name: float


def explain(lexicon: Lexicon, query: str, numbers: Sequence[int]) -> Mapping[int, Explanation]:
    """For each tool, by its number in the lexicon, why it has its score."""
    asked = query_words(query, lexicon.neighbours.phrases)
    meanings = [lexicon.meanings(word) for word in asked]
    earned = [earnings(lexicon, meaning) for meaning in meanings]
    perfect = sum(word.worth for word in earned) or 1.0
    told = spoken(meanings)
    found: dict[int, Explanation] = {}
    for number in numbers:
        name = lexicon.name_stems[number]
        factor = name_factor(name, told)
        words = tuple(
            _share(lexicon, word, meaning, number, one.worth, factor / perfect)
            for word, meaning, one in zip(asked, meanings, earned, strict=True)
        )
        of_name = sum(told.get(term, 0.0) for term in name) / len(name) if name else 0.0
        found[number] = Explanation(words, of_name)
    return found


def _share(
    lexicon: Lexicon,
    word: str,
    meanings: Mapping[str, float],
    number: int,
    worth: float,
    scale: float,
) -> WordShare:
    best = WordShare(word, 0.0)
    server = lexicon.server_of[number]
    for meaning, trust in meanings.items():
        term = lexicon.term(meaning)
        most = trust * min(term.rarity, worth) * scale
        of_tool, of_server = term.tools.get(number, 0.0), term.servers.get(server, 0.0)
        share = most * max(of_tool, of_server)
        if share > best.share:
            best = WordShare(word, share, meaning, "tool" if of_tool >= of_server else "server")
    return best
