"""The arguments of one operation, and where each goes in its request. Pure.

Parameters of path, query, headers and cookies, and the members of a body that is a plain object,
stand side by side; where two have one name, the later one is told by its place (``query_id``). What
the gateway sends by itself (credentials, configured headers) is never an argument.
"""

import re
from collections.abc import Collection, Mapping
from typing import Literal, TypeAlias

import msgspec

from mcproxy.types import Json, JsonObject
from mcproxy.upstream.openapi.document import Document, Unusable, listed, objects, text
from mcproxy.upstream.openapi.schemas import MAX_TEXT_CHARS, Schemas, shortened

MAX_PARAMETERS = 200  # of one operation
MAX_NAME_CHARS = 64

Place: TypeAlias = Literal["path", "query", "header", "cookie", "body"]
BodyKind: TypeAlias = Literal["json", "form", "multipart", "text", "binary"]

_BESIDE_PATH: tuple[Place, ...] = ("query", "header", "cookie")
_IGNORED_HEADERS = frozenset({"accept", "content-type", "authorization"})  # OpenAPI, "Parameter"
# What HTTP itself needs, and what would speak for somebody else.
_OWN_HEADERS = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "cookie", "te", "upgrade"}
    | {"proxy-authorization", "expect", "trailer", "keep-alive"}
)
_VARIABLE = re.compile(r"\{([^{}]+)\}")
_NO_WORD = re.compile(r"[^A-Za-z0-9_]+")
_COMPOSED = ("oneOf", "anyOf", "not", "if", "patternProperties")
_WITH_MEMBERS = ("json", "form", "multipart")
_MEDIA: tuple[tuple[str, BodyKind], ...] = (
    (r"application/(?:[\w.+-]+\+)?json|\*/\*|application/\*", "json"),
    (r"application/x-www-form-urlencoded", "form"),
    (r"multipart/form-data", "multipart"),
    (r"text/.+|application/(?:[\w.+-]+\+)?xml", "text"),
)
_WHOLE: Mapping[BodyKind, JsonObject] = {
    "text": {"type": "string"},
    "binary": {"type": "string", "contentEncoding": "base64"},
}


class ApiParameter(msgspec.Struct, frozen=True):
    """Where an argument goes; ``name`` is that of the API. ``as_json``: its text is JSON."""

    name: str
    place: Place
    style: str = ""
    explode: bool = True
    as_json: bool = False


class Body(msgspec.Struct, frozen=True):
    """How a body is written; ``whole`` is the argument that is all of it, empty where the arguments
    whose place it is are its members. ``files`` are those members that are bytes, ``deep`` those
    that are written as ``name[key]``."""

    media: str
    kind: BodyKind
    whole: str = ""
    required: bool = False
    files: frozenset[str] = frozenset()
    deep: frozenset[str] = frozenset()


class Arguments:
    """The arguments of one operation as they are collected. ``own``: place and name of what the
    gateway sends by itself, of headers in small letters."""

    def __init__(
        self, document: Document, schemas: Schemas, own: Collection[tuple[str, str]]
    ) -> None:
        self._document, self._schemas, self._own = document, schemas, own
        self._properties: JsonObject = {}
        self._required: list[Json] = []
        self.places: dict[str, ApiParameter] = {}

    def schema(self) -> JsonObject:
        """All of them. Raises Unusable where that is too large."""
        schema: JsonObject = {"type": "object", "properties": self._properties}
        if self._required:
            schema["required"] = self._required
        return self._schemas.alone({**schema, "additionalProperties": False})

    def add_parameters(self, path: str, said: JsonObject) -> None:
        """Take what the path names, and the other parameters. Raises Unusable."""
        found: dict[tuple[str, str], JsonObject] = {}
        for each in listed(said.get("parameters")):
            one = self._document.object(each)
            found[(text(one.get("in")), text(one.get("name")))] = one  # the operation's own is last
        if len(found) > MAX_PARAMETERS:
            raise Unusable(f"it has {len(found)} parameters, over {MAX_PARAMETERS}")
        for name in dict.fromkeys(variables(path)):
            one = found.get(("path", name), {"schema": {"type": "string"}})
            self._add(_parameter(name, "path", one), {**one, "required": True})
        for place in _BESIDE_PATH:
            for (where, name), one in found.items():
                if where == place and name and not self._is_own(place, name):
                    self._add(_parameter(name, place, one), one)

    def add_body(self, said: JsonObject) -> Body | None:
        """Take the members of the body, or the body as one. Raises Unusable."""
        if said.get("requestBody") is None:
            return None
        body = self._document.object(said["requestBody"])
        media, kind, content = _chosen(objects(body.get("content")))
        required = body.get("required") is True
        said_schema = content.get("schema")  # true, and none, are any value
        schema = self._document.object(said_schema) if isinstance(said_schema, dict) else {}
        flat = _members(self._document, schema) if kind in _WITH_MEMBERS else {}
        if not flat:
            about = text(body.get("description")) or f"The body, as {media}."
            whole = _WHOLE.get(kind, said_schema or {})
            one: JsonObject = {"schema": whole, "required": required, "description": about}
            return Body(media, kind, self._add(ApiParameter("body", "body"), one), required)
        members = objects(flat.get("properties"))
        files = frozenset(name for name, each in members.items() if self._is_file(each))
        wanted = listed(flat.get("required")) if required else []
        for name, each in members.items():
            if each.get("readOnly") is not True:
                schema = _bytes_in_text(each) if name in files else each
                self._add(
                    ApiParameter(name, "body"), {"schema": schema, "required": name in wanted}
                )
        styles = objects(content.get("encoding")).items()
        deep = frozenset(name for name, each in styles if each.get("style") == "deepObject")
        return Body(media, kind, required=required, files=files, deep=deep)

    def _add(self, parameter: ApiParameter, said: JsonObject) -> str:
        name = word(parameter.name, "argument")
        if name in self.places:
            name = free(word(f"{parameter.place}_{parameter.name}", "argument"), self.places)
        schema = self._schemas.translated(said.get("schema", _content_schema(said)))
        about = text(said.get("description")).strip()
        if about and "description" not in schema:
            schema = {**schema, "description": shortened(about, MAX_TEXT_CHARS)}
        self._properties[name] = schema
        if said.get("required") is True:
            self._required.append(name)
        self.places[name] = parameter
        return name

    def _is_own(self, place: Place, name: str) -> bool:
        """Whether the gateway sends it by itself, or nobody may."""
        if place == "cookie" and ("header", "cookie") in self._own:
            return True
        if place != "header":
            return (place, name) in self._own
        small = name.lower()
        return (place, small) in self._own or small in _IGNORED_HEADERS or small in _OWN_HEADERS

    def _is_file(self, schema: JsonObject) -> bool:
        try:
            said = self._document.object(schema)
            if said.get("type") == "array":
                said = self._document.object(said.get("items"))
        except Unusable:
            return False
        return "binary" in (said.get("format"), said.get("contentEncoding")) or (
            said.get("type") == "file" or "contentMediaType" in said
        )


def _bytes_in_text(schema: JsonObject) -> JsonObject:
    said = {"description": schema["description"]} if "description" in schema else {}
    if schema.get("type") == "array":
        return {"type": "array", "items": _WHOLE["binary"], **said}
    return {**_WHOLE["binary"], **said}


def is_media(name: str) -> bool:
    """Whether it is a media type, or a range of some (RFC 9110, 8.3.1 and 12.5.1)."""
    return re.fullmatch(r"[\w.+*-]{1,100}/[\w.+*-]{1,100}", name.partition(";")[0]) is not None


def variables(path: str) -> list[str]:
    """What stands in braces in a path."""
    return _VARIABLE.findall(path)


def word(said: str, instead: str) -> str:
    """A name as scripts can write it."""
    plain = _NO_WORD.sub("_", said).strip("_")[:MAX_NAME_CHARS] or instead
    return f"n_{plain}" if plain[0].isdigit() else plain


def free(name: str, taken: Collection[str]) -> str:
    """A name that is not taken."""
    while name in taken:
        name = f"{name[: MAX_NAME_CHARS - 6]}_{len(taken)}"
    return name


def _parameter(name: str, place: Place, said: JsonObject) -> ApiParameter:
    style = text(said.get("style"))
    explode = said.get("explode")
    usual = style in ("", "form", "deepObject") and place in ("query", "cookie")
    in_json = any("json" in media for media in objects(said.get("content")))
    return ApiParameter(
        name, place, style, explode if isinstance(explode, bool) else usual, in_json
    )


def _content_schema(said: JsonObject) -> Json:
    """A parameter may have a media type instead of a schema."""
    return next((each.get("schema") for each in objects(said.get("content")).values()), {})


def _chosen(content: Mapping[str, JsonObject]) -> tuple[str, BodyKind, JsonObject]:
    """The media type that is written most easily. Raises Unusable."""
    named = {media.partition(";")[0].strip().lower(): inner for media, inner in content.items()}
    plain = {media: inner for media, inner in named.items() if is_media(media)}
    for pattern, kind in _MEDIA:
        for media, inner in plain.items():
            if re.fullmatch(pattern, media):
                return ("application/json" if "*" in media else media), kind, inner
    for media, inner in plain.items():
        return media, "binary", inner
    raise Unusable("its body has no media type")


def _members(document: Document, schema: JsonObject) -> JsonObject:
    """A body that is a plain object, or ``allOf`` several, as one such; empty for any other."""
    properties: JsonObject = {}
    required: list[Json] = []
    try:
        parts = [document.object(part) for part in listed(schema.get("allOf"))]
    except Unusable:
        return {}
    alone = {key: value for key, value in schema.items() if key != "allOf"}
    for part in (*parts, alone):
        if any(key in part for key in (*_COMPOSED, "allOf")) or part.get("additionalProperties"):
            return {}
        properties |= objects(part.get("properties"))
        required += listed(part.get("required"))
    if not 0 < len(properties) <= MAX_PARAMETERS:
        return {}
    return {"properties": properties, "required": required}
