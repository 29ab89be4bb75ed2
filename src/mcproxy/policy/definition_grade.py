"""How a definition differs from the one before, and whether a person should see it first. Pure.

``harmless``: spelling, white space, or shorter. ``dangerous``: it instructs the model or hides from
the user, has characters that hide, takes a name that stands for another server's tool, asks for
secrets or files by a new parameter, or is not any more what it was annotated to be. Words that were
added later are read more strictly (``changed_words``). ``notable``:
all else. Only what is new counts: a server's words that a person has accepted do not count again.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, TypeAlias

import msgspec

from mcproxy.foreign_text import imitated
from mcproxy.patterns import pattern
from mcproxy.policy import changed_words
from mcproxy.policy.instructing import foreign, reasons, sentences
from mcproxy.types import Json

Level: TypeAlias = Literal["same", "harmless", "notable", "dangerous"]
Definition: TypeAlias = Mapping[str, Json]

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SECRET_NAMES = f"{changed_words.SECRETS} passwd (?:access|signing)_?keys? mnemonic netrc id_rsa"
_SECRET = pattern(rf"(?:^|_)(?:{'|'.join(_SECRET_NAMES.split())})(?:_|$)")
_FILE = re.compile(r"^(?:local_)?(?:files?|attachments?)(?:_(?:path|contents?|name|data))?s?$")
_LOCAL = re.compile(r"(?:^|_)(?:local|home)_(?:path|file|dir)")
_TURNING = frozenset({"not", "no", "never", "without", "only", "cannot", "don", "t", "unless"})
_ABOUT_TEXT = frozenset({"description", "title", "summary"})


class Grade(msgspec.Struct, frozen=True):
    """``reasons`` of one that is dangerous, in words without anything of the definition."""

    level: Level
    reasons: tuple[str, ...] = ()


def grade(
    before: Definition | None,
    after: Definition,
    shadowed: str | None = None,
    *,
    by_annotation: bool = False,
) -> Grade:
    """The change from ``before`` (None: it is the first) to ``after``; ``shadowed``: a server that
    has a tool of this name already; ``by_annotation``: there are rules that an annotation
    loosens."""
    if before == after:
        return Grade("same")
    found = dict.fromkeys(_of_name(after, shadowed))
    if before is not None and by_annotation and _loosened(before, after):
        found["is annotated as safe, and was not, where rules go by that"] = None
    if before is not None:
        found |= dict.fromkeys((*_of_annotations(before, after), *_of_parameters(before, after)))
    text = _new_text(before or {}, after)
    new = sentences(text)
    if before is not None and _is_in_another_language(before, new):
        found["has words in another language than before"] = None
    found |= dict.fromkeys(reasons(text))
    if before is not None:
        found |= dict.fromkeys(sign for one in new for sign in changed_words.signs(one))
    if found:
        return Grade("dangerous", tuple(found))
    if before is not None and _is_harmless(before, after):
        return Grade("harmless")
    return Grade("notable")


def _new_text(before: Definition, after: Definition) -> str:
    """The sentences that were not there before, with what acts or hides in them."""
    texts = dict.fromkeys(_texts(after))
    if not before:
        return "\n".join(texts)
    known = {piece for text in _texts(before) for piece in sentences(text)}
    return "\n".join(piece for text in texts for piece in sentences(text) if piece not in known)


def _is_in_another_language(before: Definition, new: Sequence[str]) -> bool:
    """Sentences of a language that nobody looks for here, or that whoever accepted the tool may not
    read."""
    if not any(map(foreign, new)):
        return False
    return not any(foreign(piece) for was in _texts(before) for piece in sentences(was))


def _of_name(after: Definition, shadowed: str | None) -> Iterator[str]:
    name = str(after.get("name", ""))
    if imitated(name):
        yield "has a name that looks like another one"
    if shadowed:
        yield f"has the name of a tool of server {shadowed!r}"


def _of_annotations(before: Definition, after: Definition) -> Iterator[str]:
    was, now = (_object(each.get("annotations")) for each in (before, after))
    if was.get("readOnlyHint") is True and now.get("readOnlyHint") is not True:
        yield "was annotated as read-only, and is not any more"
    spared = now.get("destructiveHint") is False or now.get("readOnlyHint") is True
    if was.get("destructiveHint") is False and not spared:
        yield "was annotated as not destructive, and is not any more"


def _loosened(before: Definition, after: Definition) -> bool:
    was, now = (_object(each.get("annotations")) for each in (before, after))
    reads = now.get("readOnlyHint") is True and was.get("readOnlyHint") is not True
    spares = now.get("destructiveHint") is False and was.get("destructiveHint") is not False
    return reads or (spares and was.get("readOnlyHint") is not True)


def _of_parameters(before: Definition, after: Definition) -> Iterator[str]:
    was, now = (_parameters(each) for each in (before, after))
    for name in now.keys() - was.keys():
        plain = _HUMP.sub("_", name).lower().replace("-", "_")
        about = " ".join(_texts(_object(now[name])))
        if _SECRET.search(plain) or changed_words.asks_for_secrets(about):
            yield "has a new parameter that asks for a secret"
        if _FILE.search(plain) or _LOCAL.search(plain):
            yield "has a new parameter that asks for a file"


def _parameters(definition: Definition) -> Mapping[str, Json]:
    """Those of a tool, or the arguments of a prompt, by name."""
    arguments = definition.get("arguments")
    listed = arguments if isinstance(arguments, list) else ()
    of_prompt = {str(each.get("name")): each for each in listed if isinstance(each, dict)}
    return {**_object(_object(definition.get("inputSchema")).get("properties")), **of_prompt}


def _object(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, dict) else {}


def _texts(definition: Definition) -> list[str]:
    """All texts of a definition, the names of members too: a model reads them all."""
    found: list[str] = []
    left: list[object] = [definition]
    while left:
        value = left.pop()
        if isinstance(value, str):
            found.append(value)
        elif isinstance(value, Mapping):
            found += map(str, value)
            left += value.values()
        elif isinstance(value, list):
            left += value
    return found


def _is_harmless(before: Definition, after: Definition) -> bool:
    """Is nothing new but spelling and white space, and what is gone only words?"""
    return _shape(before) == _shape(after) and all(
        _shortened(_words(was), _words(now))
        for was, now in zip(_prose(before), _prose(after), strict=True)
    )


def _shape(value: object) -> object:
    """The definition without its prose."""
    if isinstance(value, Mapping):
        return {
            key: None if key in _ABOUT_TEXT and isinstance(inner, str) else _shape(inner)
            for key, inner in value.items()
        }
    return [_shape(inner) for inner in value] if isinstance(value, list) else value


def _prose(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key in sorted(value):
            inner = value[key]
            if key in _ABOUT_TEXT and isinstance(inner, str):
                yield inner
            else:
                yield from _prose(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _prose(inner)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def _shortened(before: list[str], after: list[str]) -> bool:
    """Do the words come in the same order, some of them left out or spelt a little differently?
    A "not" that is gone is no matter of length."""
    if sum(map(_TURNING.__contains__, before)) != sum(map(_TURNING.__contains__, after)):
        return False
    rest = iter(before)
    return all(any(_alike(word, other) for other in rest) for word in after)


def _alike(one: str, other: str) -> bool:
    return (
        one == other
        or (len(one) > 3 and one[:-1] == other)
        or (len(other) > 3 and other[:-1] == one)
    )
