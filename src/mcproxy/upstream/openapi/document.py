"""An OpenAPI description as a document: its bytes become JSON, its references are followed.

Descriptions are dirty, and some are hostile: what nests too deeply, refers to itself without end or
grows by aliases of YAML ends at a bound. A reference is followed inside the document only; nothing
is fetched for one. Knows no tool. Pure.
"""

import json
import re
from collections.abc import Iterator
from urllib.parse import unquote

import msgspec

from mcproxy.errors import McproxyError
from mcproxy.types import Json, JsonObject
from mcproxy.wire.message import UNREADABLE

MAX_BYTES = 32 << 20  # the largest that are published have some 13 MiB (GitHub) to 30 MiB
MAX_YAML_BYTES = 8 << 20  # a megabyte of YAML takes a second or two to read
MAX_VALUES = 2_000_000  # of YAML, aliases followed: ten lines of it may stand for billions
MAX_DEPTH = 64  # of anything that is walked
_MAX_HOPS = 16  # references that lead to references
_MAX_DIGITS = 6  # of an index in a pointer

_decode = msgspec.json.Decoder(dict[str, Json]).decode


class BadDescription(McproxyError):
    """A description of which nothing can be used; the text says why."""


class Unusable(McproxyError):
    """A part that cannot be used, and with it the operation that it belongs to."""


def parsed(data: bytes) -> JsonObject:
    """The document in these bytes, JSON or YAML. Raises BadDescription."""
    text = data.removeprefix(b"\xef\xbb\xbf").lstrip()
    try:
        root = _decode(text) if text[:1] == b"{" else _yaml(text)
    except UNREADABLE as error:
        raise BadDescription(f"it cannot be read as JSON: {error}") from error
    version = str(root.get("openapi", root.get("swagger", "")))
    if not version.startswith(("3.", "2.")):
        found = f"version {version!r}" if version else "neither `openapi` nor `swagger`"
        raise BadDescription(f"it is no OpenAPI description of version 3 or 2: it has {found}")
    return root


def _yaml(text: bytes) -> JsonObject:
    import yaml  # noqa: PLC0415  only some descriptions are YAML, and most gateways have none

    if len(text) > MAX_YAML_BYTES:
        limit = MAX_YAML_BYTES >> 20
        raise BadDescription(
            f"it has over {limit} MiB of YAML; give it as JSON, which is read fast"
        )
    try:
        found: object = yaml.load(text, _loader())  # noqa: S506  made of the safe one
        return _json_of(found)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        words = " ".join(str(error).split())
        raise BadDescription(f"it is neither JSON nor YAML: {words[:200]}") from error


def _loader() -> type:
    """YAML as of 1.2, which OpenAPI demands ("Format"): ``no`` and ``2026-01-01`` are texts."""
    import yaml  # noqa: PLC0415  see above

    class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        yaml_implicit_resolvers: dict[str, object] = {}  # noqa: RUF012  PyYAML's own way

    kinds = (
        ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
        ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
        ("int", r"[-+]?(?:0|[1-9][0-9]{0,17})", "-+0123456789"),
        ("float", r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]{1,3})?", "-+.0123456789"),
        ("merge", "<<", "<"),
    )
    for kind, pattern, first in kinds:
        _Loader.add_implicit_resolver(
            f"tag:yaml.org,2002:{kind}", re.compile(f"(?:{pattern})$"), list(first)
        )
    return _Loader


def _json_of(found: object) -> JsonObject:
    """What PyYAML gave, as JSON; its keys may be numbers (of responses), its aliases one object."""
    left = iter(range(MAX_VALUES))

    def walked(value: object, depth: int) -> Json:
        if next(left, None) is None or depth > MAX_DEPTH:
            raise BadDescription("it nests too deeply, or its aliases stand for too much")
        if isinstance(value, dict):
            return {_key(key): walked(inner, depth + 1) for key, inner in value.items()}
        if isinstance(value, list):
            return [walked(inner, depth + 1) for inner in value]
        return value if isinstance(value, str | int | float | bool | None) else str(value)

    root = walked(found, 0)
    if not isinstance(root, dict):
        raise BadDescription("it is neither a JSON object nor a YAML mapping")
    return root


def _key(key: object) -> str:
    return key if isinstance(key, str) else json.dumps(key, default=str)


class Document(msgspec.Struct, frozen=True):
    """A description; ``root`` is the whole of it."""

    root: JsonObject

    @property
    def is_swagger(self) -> bool:
        """Whether it is of version 2, whose parts have other shapes."""
        return "openapi" not in self.root

    def at(self, reference: Json) -> Json:
        """What a reference points to (RFC 6901, in a fragment). Raises Unusable."""
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise Unusable(f"its $ref {_short(reference)} leads out of the document")
        found: Json = self.root
        for step in _steps(reference):
            if isinstance(found, dict) and step in found:
                found = found[step]
            elif isinstance(found, list) and _is_index(step, found):
                found = found[int(step)]
            else:
                raise Unusable(f"its $ref {_short(reference)} points to nothing")
        return found

    def object(self, value: Json) -> JsonObject:
        """An object that may stand there by reference. Raises Unusable."""
        for _ in range(_MAX_HOPS):
            if not isinstance(value, dict):
                raise Unusable(f"an object is expected where it has {_short(value)}")
            if not isinstance(value.get("$ref"), str):
                return value
            value = self.at(value["$ref"])
        raise Unusable("its $ref leads in a circle")


def _steps(reference: str) -> Iterator[str]:
    pointer = unquote(reference[1:])
    for step in pointer.split("/")[1:]:
        yield step.replace("~1", "/").replace("~0", "~")


def _is_index(step: str, found: list[Json]) -> bool:
    return step.isascii() and step.isdigit() and len(step) <= _MAX_DIGITS and int(step) < len(found)


def _short(value: Json) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else f"{text[:80]}…"


def objects(value: Json) -> dict[str, JsonObject]:
    """The members of an object that are objects."""
    members = value.items() if isinstance(value, dict) else ()
    return {key: inner for key, inner in members if isinstance(inner, dict)}


def listed(value: Json) -> list[Json]:
    """The items of a list; none of what is no list."""
    return value if isinstance(value, list) else []


def text(value: Json) -> str:
    """A text; empty where it is none."""
    return value if isinstance(value, str) else ""
