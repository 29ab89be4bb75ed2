"""What crosses the edge of a script, both ways: tool results come in, Python values go out.

Pure. ``unwrap`` gives a script the value that it wants instead of the protocol's envelope;
``to_json`` turns any Python value into JSON and counts what had to be converted on the way.
"""

import base64
import dataclasses
import datetime
import decimal
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Never, TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

MAX_DEPTH = 100  # deeper values become text: JSON readers on the way give up at a few hundred
_MAX_REPR_CHARS = 10_000
_MAX_INT_BITS = 14_000  # Python refuses to print integers of more than 4300 digits


def unwrap(result: Json, kind: str = "result") -> Json:
    """The value of a ``CallToolResult`` (MCP, server/tools): its structured content if there is
    any, else the one text block (decoded if it is JSON), else the list of content blocks.

    ``kind``: ``wrapped`` and ``perhaps_wrapped`` are results whose structured content may be no
    more than ``{"result": value}``, as a framework wraps what is no object.
    """
    if not isinstance(result, dict):
        return result
    structured = result.get("structuredContent")
    content = result.get("content", [])
    if isinstance(structured, dict) and structured.keys() == {"result"}:
        inner = structured["result"]
        if kind == "wrapped" or (kind == "perhaps_wrapped" and _says(content, inner)):
            return inner
    if structured is not None:
        return structured
    if isinstance(content, list) and len(content) == 1:
        block = content[0]
        if isinstance(block, dict) and block.get("type") == "text":
            return _decoded(block.get("text", ""))
    return content


def _says(content: Json, value: Json) -> bool:
    """Whether the blocks are the text of the value; a list may have a block for each item."""
    blocks = content if isinstance(content, list) else []
    texts = [block.get("text") if isinstance(block, dict) else None for block in blocks]
    if len(texts) == 1 and _is_text_of(texts[0], value):
        return True
    items = value if isinstance(value, list) else []
    return len(texts) == len(items) and all(map(_is_text_of, texts, items))


def _is_text_of(text: Json, value: Json) -> bool:
    return isinstance(text, str) and (text == value or _decoded(text) == value)


def _decoded(text: Json) -> Json:
    if not isinstance(text, str):
        return text
    try:
        value: Json = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text
    return value


def _refuse(constant: str) -> Never:
    raise ValueError(f"{constant} is not JSON")


def to_json(value: object) -> tuple[Json, list[str]]:
    """``value`` as JSON, and at most one note that counts every conversion."""
    conversion = _Conversion()
    converted = conversion.convert(value)
    if not conversion.counts:
        return converted, []
    listed = ", ".join(f"{count} {kind}" for kind, count in conversion.counts.items())
    return converted, [f"converted to JSON: {listed}"]


class _Conversion:
    """One walk over one value; ``counts`` says what was converted into what."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._open: set[int] = set()  # the containers that we are inside of, to see a cycle

    def convert(self, value: object) -> Json:
        if value is None or value is True or value is False:
            return value
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, int):
            return self._integer(value)
        if isinstance(value, float):
            return self._number(value)
        return self._container(value)

    def _noted(self, value: Json, kind: str) -> Json:
        self.counts[kind] += 1
        return value

    def _text(self, value: str) -> str:
        text = str(value)
        try:
            text.encode()
        except UnicodeEncodeError:
            self.counts["text with lone surrogates -> replaced"] += 1
            return text.encode("utf-8", "replace").decode()
        return text

    def _integer(self, value: int) -> Json:
        if value.bit_length() > _MAX_INT_BITS:
            return self._noted(hex(value), "very large int -> hexadecimal text")
        return int(value)

    def _number(self, value: float) -> Json:
        if not math.isfinite(value):
            return self._noted(None, "NaN or infinity -> null")
        return float(value)

    def _container(self, value: object) -> Json:
        if id(value) in self._open:
            return self._noted(f"<cycle: {type(value).__name__}>", "cyclic reference -> text")
        if len(self._open) >= MAX_DEPTH:
            return self._noted(f"<nested deeper than {MAX_DEPTH}>", "too deep value -> text")
        self._open.add(id(value))
        try:
            return self._members(value)
        finally:
            self._open.discard(id(value))

    def _members(self, value: object) -> Json:
        if isinstance(value, list):
            return [self.convert(item) for item in value]
        if isinstance(value, Mapping):
            return self._object(value)
        if isinstance(value, Iterable) and isinstance(value, _LISTED):
            return self._noted([self.convert(item) for item in value], _kind(value, "list"))
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            names = [field.name for field in dataclasses.fields(value)]  # noqa: TID251
            fields: dict[object, object] = {name: getattr(value, name, None) for name in names}
            return self._noted(self._object(fields), _kind(value, "dict"))
        return self._scalar(value)

    def _object(self, value: Mapping[object, object]) -> Json:
        return {self._key(key): self.convert(item) for key, item in value.items()}

    def _key(self, key: object) -> str:
        if isinstance(key, str):
            return self._text(key)
        self.counts["non-string key -> text"] += 1
        if key is None or isinstance(key, bool | int | float):
            return json.dumps(key)
        return self._text(str(key))

    def _scalar(self, value: object) -> Json:
        if isinstance(value, datetime.date | datetime.time):
            return self._noted(value.isoformat(), _kind(value, "ISO 8601 text"))
        if isinstance(value, decimal.Decimal):
            return self._noted(str(value), _kind(value, "text"))
        if isinstance(value, bytes | bytearray | memoryview):
            return self._noted(base64.b64encode(value).decode(), _kind(value, "base64"))
        return self._noted(self._text(_shown(value)), _kind(value, "its repr"))


_LISTED = tuple | set | frozenset | range | type({}.keys()) | type({}.values()) | type({}.items())


def _kind(value: object, target: str) -> str:
    return f"{type(value).__name__} -> {target}"


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except Exception as error:  # noqa: BLE001  # a script's __repr__ may raise anything
        return f"<{type(value).__name__}: its repr raised {type(error).__name__}>"
    return text if len(text) <= _MAX_REPR_CHARS else text[:_MAX_REPR_CHARS] + "…"
