"""Text to terms: how names, descriptions and queries are cut into comparable words.

Owns the reading of identifiers (``reposList``, ``repos_list``), the light stemmer and the scripts
that are written without spaces. Knows no tool, no index and no score. The same functions read both
sides, the catalogue and the query; that is all that matching rests on.
"""

import re
import unicodedata

from mcproxy.patterns import pattern

# Kana, CJK, Hangul, Thai, Lao, Myanmar, Khmer: no spaces between words, so pairs of characters
# stand for words there.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_RUNS = pattern(rf"[{_UNSPACED}]+|[^\W_{_UNSPACED}]+")
_HUMP = pattern(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_UNSPACED_RUN = pattern(rf"[{_UNSPACED}]")
_LAST_LATIN = "\u024f"
_FIRST_UNSPACED = "\u0e00"

_STOP_WORDS_TEXT = (
    "a about after all also am an and any anything are as at be been being but by can could do "
    "does each etc every for from had has have he her his how i if in into is it its just like "
    "may me might my need no not nothing of on or other our out over please she should so some "
    "something such than that the their them then there these they thing things this those to "
    "up us use used uses using via want was we were what when where which who why will with "
    "would you your"
)
STOP_WORDS = frozenset(_STOP_WORDS_TEXT.split())


def fold(text: str) -> str:
    """Lower case, compatible forms made equal, accents taken off Latin letters."""
    if text.isascii():
        return text.lower()
    text = unicodedata.normalize("NFKC", text).casefold()
    return "".join(_bare(char) if "\x7f" < char <= _LAST_LATIN else char for char in text)


def words(prose: str) -> list[str]:
    """The words of a sentence, in order: ``"List GitHub repos"`` -> ``list github repos``."""
    found: list[str] = []
    for run in _RUNS.findall(fold(prose)):
        if run[0] >= _FIRST_UNSPACED and _UNSPACED_RUN.match(run):
            found.extend(_pairs(run))
        else:
            found.append(run)
    return found


def parts(name: str) -> list[str]:
    """The words of an identifier: ``repos.list``, ``reposList`` -> ``repos list``."""
    return words(_HUMP.sub(" ", name))


def snake(name: str) -> str:
    """The one form that all spellings of a tool's name share: ``reposList`` -> ``repos_list``.

    Other letters are another name, however alike they look: accents stay.
    """
    name = _HUMP.sub(" ", name if name.isascii() else unicodedata.normalize("NFC", name))
    return "_".join(_RUNS.findall(name.lower()))


def stem(word: str) -> str:
    """What ``create``, ``creates``, ``created``, ``creating``, ``creation`` have in common.

    Much lighter than Porter's: wrong stems do no harm as long as both sides share them.
    """
    if len(word) <= 3 or not word.isascii():
        return word
    word = singular(word)
    for ending, least in (("ing", 6), ("ed", 5), ("ion", 8)):
        if word.endswith(ending) and len(word) >= least:
            word = _undouble(word[: -len(ending)])
            break
    if word.endswith("e") and len(word) > 3:
        return word[:-1]
    return f"{word[:-1]}i" if word.endswith("y") and len(word) > 3 else word


def singular(word: str) -> str:
    """``repositories`` -> ``repository``; rules, and ``news``, which are not new."""
    if word == "news":
        return word
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    if word.endswith(("sses", "xes", "ches", "shes", "zes")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def brief(text: str, limit: int) -> str:
    """The head of ``text`` in at most ``limit`` UTF-8 bytes, ended by ``…`` where it was cut."""
    raw = text.encode(errors="replace")  # half a surrogate pair has no bytes
    if len(raw) <= limit:
        return text
    head = raw[: max(limit - 3, 0)].decode(errors="ignore")
    cut = head.rfind(" ")
    head = head[:cut] if cut > len(head) // 2 else head
    return f"{head.rstrip(' ,.;:')}…" if limit >= 3 else ""


def first_sentence(text: str) -> str:
    """The first sentence of the first paragraph that says anything, in one line."""
    line = next((line.strip("#*- \t") for line in text.splitlines() if line.strip("#*- \t")), "")
    sentence = re.split(r"(?<=[.!?])\s|(?<=[。！？])", line, maxsplit=1)[0]  # noqa: RUF001
    return " ".join(sentence.split()).rstrip(".")


def _pairs(run: str) -> list[str]:
    return [run] if len(run) == 1 else [run[at : at + 2] for at in range(len(run) - 1)]


def _bare(char: str) -> str:
    return unicodedata.normalize("NFD", char)[0]


def _undouble(word: str) -> str:
    doubled = len(word) > 3 and word[-1] == word[-2] and word[-1] not in "lsz"
    return word[:-1] if doubled else word
