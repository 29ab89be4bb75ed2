"""Text that others wrote, made safe for a line, a terminal and a model: what acts or hides goes.

Servers, clients and scripts write text that ends in logs, on terminals and before models. There a
character may act (an escape sequence moves the cursor, a line break forges a line) or hide (a
zero-width or a tag character says to a model what no person sees). Owns which characters those are.
Knows no secret, no log and no schema. Pure.

Readable text of any script stays as it is, emoji included: a joiner stays where it joins two of
them or stands in a script that writes with joiners, and the emoji selectors stay behind a symbol.
Private-use characters stay, for they are seen. Flags of regions lose their letters, which are
written in tag characters.
"""

import unicodedata
from functools import lru_cache
from typing import Final

from mcproxy.patterns import pattern

# ECMA-48: control sequences, strings (OSC and the like) up to their end, other escapes. A string
# without an end loses its beginning only.
_SEQUENCE = pattern(
    "\x1b(?:\\[[0-?]*[ -/]*[@-~]|[\\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\\\)|[ -/]*[0-~])"
)
_BREAK = pattern("[\n\r\t]")
_LINE_END = pattern("\r\n?|[\x0b\x0c\x85\u2028\u2029]")

_SYMBOLS = "\u00a9\u00ae\u203c-\u205f\u2070-\u27ff\u2900-\u3299\U0001f000-\U0001faff"
_JOINING = "\u0590-\u109f\u1780-\u17b3\u17b6-\u180a\u1810-\u18af\ua800-\uabff\ufb1d-\ufdff"
_CONTROLS = "\x00-\x08\x0b-\x1f\x7f-\x9f"
# Unicode's Bidi_Control and Default_Ignorable_Code_Point without joiners and emoji selectors;
# interlinear marks, halves of surrogate pairs, and what is no character.
_HIDDEN = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0d\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\ud800-\udfff"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_UNJOINED = (
    f"(?<![{_JOINING}])\u200c|(?<![{_JOINING}{_SYMBOLS}\ufe0f])\u200d"
    f"|(?<=[{_SYMBOLS}\ufe0f])\u200d(?![{_SYMBOLS}])|(?<![#*0-9{_SYMBOLS}])[\ufe0e\ufe0f]"
)
_SUSPECT = pattern(f"[{_CONTROLS}{_HIDDEN}\u200c\u200d\ufe0e\ufe0f]")
_BAD = pattern(f"[{_CONTROLS}{_HIDDEN}]|{_UNJOINED}")
_MARK: Final = "…"
_NAMES = 1024  # short ones that are remembered

# Letters of other scripts that look like a Latin one (Unicode's confusables, those of one letter).
_LATIN_LIKE = str.maketrans(
    "аеорсухіјѕһԁԛԝвкмнтгьАЕОРСУХІЈЅВКМНТοαρνικυχτεΑΒΕΖΗΙΚΜΝΟΡΤΥΧ",
    "aeopcyxijshdqwbkmhtrbAEOPCYXIJSBKMHToapvikuxteABEZHIKMNOPTYX",
)


def clean(text: str) -> str:
    """The text without what acts or hides; its lines stay lines, ended by ``\\n``."""
    if not hides(text) and "\r" not in text:
        return text
    return _BAD.sub("", _LINE_END.sub("\n", without_sequences(text)))


def without_sequences(text: str) -> str:
    """The text with a NUL for each terminal sequence, whose letters belong to no word of it."""
    return _SEQUENCE.sub("\0", text) if "\x1b" in text else text


def hides(text: str) -> bool:
    """Has the text anything that acts or hides? Line breaks and tabs do not count."""
    if text.isascii():  # nearly always, and a hundred times faster
        if text.isprintable():
            return False
        return not text.replace("\n", "").replace("\r", "").replace("\t", "").isprintable()
    text = text.replace("\r", "\n")
    return _SUSPECT.search(text) is not None and _BAD.search(text) is not None


def one_line(text: str, most: int | None = None) -> str:
    """The same on one line, for what is to be one: of at most ``most`` characters."""
    return bounded(" ".join(clean(text).split()), most)


def bounded(text: str, most: int | None) -> str:
    """The head of a text of more than ``most`` characters, and a mark that says how many are
    gone."""
    if most is None or len(text) <= most:
        return text
    return f"{text[:most].rstrip()}{_MARK} ({len(text) - most} more characters)"


@lru_cache(maxsize=_NAMES)  # the same few are asked for all the time
def short_name(asked: str, most: int) -> str:
    """A name that anybody may have chosen, as one line of at most ``most`` characters."""
    return (asked if is_seen(asked) else one_line(asked))[:most]


def is_seen(name: str) -> bool:
    """Is every character of a name one that can be seen? Line breaks and tabs cannot."""
    return not hides(name) and _BREAK.search(name) is None


def label(name: str, most: int) -> str:
    """A name to be shown: as it is where it can be seen, else with what hides written out."""
    return bounded(name if is_seen(name) else ascii(name), most)


def imitated(name: str) -> str | None:
    """The plain name that this one looks like, though it is spelt with other letters."""
    if name.isascii():
        return None
    plain = unicodedata.normalize("NFKC", name.translate(_LATIN_LIKE))
    return plain if plain.isascii() else None
