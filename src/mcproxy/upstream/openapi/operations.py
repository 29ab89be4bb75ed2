"""The operations of a description as tools. Pure.

One bad operation costs no other: it is left out, with the reason.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import msgspec

from mcproxy.types import Json, JsonObject
from mcproxy.upstream.openapi.arguments import (
    ApiParameter,
    Arguments,
    Body,
    free,
    is_media,
    word,
)
from mcproxy.upstream.openapi.document import Document, Unusable, listed, objects, text
from mcproxy.upstream.openapi.schemas import Schemas, shortened
from mcproxy.upstream.openapi.swagger import modern

MAX_OPERATIONS = 3000  # offered; the largest that people use have a thousand (GitHub, Kubernetes)
MAX_ACCEPTED = 4  # media types that are asked for
MAX_TITLE_CHARS, MAX_DESCRIPTION_CHARS = 100, 700

_METHODS = ("get", "head", "options", "post", "put", "patch", "delete")
_NO_METHODS = frozenset({"summary", "description", "servers", "parameters", "$ref"})
_READS = frozenset({"get", "head", "options"})
_IDEMPOTENT = frozenset({"put", "delete"})  # and what reads: RFC 9110, 9.2.2
_LINK = re.compile(r"!?\[([^\[\]]*)\]\([^()\s]*\)")
_TAGS = re.compile(r"</?[A-Za-z][^<>]{0,200}>")


class OperationChoice(msgspec.Struct, frozen=True):
    """Which operations are wanted (patterns; with a leading ``!``: which are not), and what the
    gateway sends with each by itself: header names in small letters, and the names of security
    schemes that it has credentials for."""

    patterns: tuple[str, ...] = ()
    headers: frozenset[str] = frozenset()
    credentials: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation as a tool. ``signed_by``: the security schemes whose credentials are sent.
    ``wraps``: its result is put into an object. ``server``: its own, where it names one."""

    method: str
    path: str
    parameters: Mapping[str, ApiParameter]
    body: Body | None
    accept: str
    signed_by: tuple[str, ...]
    wraps: bool
    server: str
    definition: JsonObject = field(repr=False)


class Operations(msgspec.Struct, frozen=True):
    """By the names of their tools; and those that are left out, ``METHOD PATH: REASON``."""

    by_tool: Mapping[str, Operation]
    left_out: tuple[str, ...] = ()


def operations_of(document: Document, choice: OperationChoice) -> Operations:
    """All operations of a description that are wanted."""
    made: dict[str, Operation] = {}
    left_out: list[str] = []
    reader = _OperationReader(document, choice)
    for path, item in objects(document.root.get("paths")).items():
        try:
            found = reader.item(path, item)
        except Unusable as error:
            left_out.append(f"{path}: {error}")
            continue
        for method, operation in found.items():
            place = f"{method.upper()} {path}"
            if not _wanted(choice.patterns, place, operation):
                continue
            if len(made) >= MAX_OPERATIONS:
                left_out.append(f"{place}: over {MAX_OPERATIONS}; choose with `operations`")
                continue
            name = free(_tool_name(place, operation), made)
            try:
                made[name] = reader.operation(name, method, path, operation)
            except Unusable as error:
                left_out.append(f"{place}: {error}")
    return Operations(made, tuple(left_out))


def _wanted(patterns: Collection[str], place: str, operation: JsonObject) -> bool:
    tags = [f"tag:{tag}" for tag in listed(operation.get("tags")) if isinstance(tag, str)]
    names = [place, text(operation.get("operationId")), *tags]

    def matches(pattern: str) -> bool:
        return any(fnmatchcase(name, pattern) for name in names)

    wanted = [pattern for pattern in patterns if not pattern.startswith("!")]
    unwanted = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    return (not wanted or any(map(matches, wanted))) and not any(map(matches, unwanted))


def _tool_name(place: str, operation: JsonObject) -> str:
    said = text(operation.get("operationId")) or place.replace("{", "by_").lower()
    return word(said, "operation")


class _OperationReader:
    """Reads the operations of one document."""

    def __init__(self, document: Document, choice: OperationChoice) -> None:
        self._document, self._choice = document, choice
        self._arguments = Schemas(document)
        self._results = Schemas(document, results=True)
        self._own = frozenset(_sent(document, choice))

    def item(self, path: str, item: JsonObject) -> Mapping[str, JsonObject]:
        """The operations of a path by method, with what they share. Raises Unusable."""
        item = self._document.object(item)
        if not path.startswith("/") or "?" in path or "#" in path:
            raise Unusable("a path begins with '/' and has no query")
        shared: JsonObject = {key: item[key] for key in ("parameters", "servers") if key in item}
        return {
            method: self._with_shared(operation, shared)
            for method, operation in objects(item).items()
            if method not in _NO_METHODS and not method.startswith("x-")
        }

    def _with_shared(self, operation: JsonObject, shared: JsonObject) -> JsonObject:
        parameters = [*listed(shared.get("parameters")), *listed(operation.get("parameters"))]
        return {**shared, **operation, "parameters": parameters}

    def operation(self, name: str, method: str, path: str, said: JsonObject) -> Operation:
        """One operation. Raises Unusable."""
        if method not in _METHODS:
            raise Unusable(f"{method!r} is no method that can be called")
        if self._document.is_swagger:
            said = modern(said, self._document)
        arguments = Arguments(self._document, self._arguments, self._own)
        arguments.add_parameters(path, said)
        body = arguments.add_body(said)
        schema, accept = self._result(said)
        wraps = schema is not None and schema.get("type") != "object"
        definition: JsonObject = {
            "name": name,
            "description": _description(method, path, said),
            "inputSchema": arguments.schema(),
            "annotations": _annotations(method, said),
        }
        if schema is not None:
            definition["outputSchema"] = _wrapped(schema) if wraps else schema
        servers = listed(said.get("servers"))
        first = servers[0] if servers else None
        return Operation(
            method.upper(),
            path,
            arguments.places,
            body,
            accept,
            self._signed_by(said),
            wraps,
            text(first.get("url")) if isinstance(first, dict) else "",
            definition,
        )

    def _result(self, said: JsonObject) -> tuple[JsonObject | None, str]:
        """The schema of a success in JSON, where there is one, and what to accept."""
        responses = objects(said.get("responses"))
        good = sorted(code for code in responses if code[:1] == "2") or ["default"]
        content = [each for code in good for each in self._content(responses.get(code)).items()]
        schemas = (inner.get("schema") for media, inner in content if "json" in media)
        schema = next((each for each in schemas if each), None)
        kinds = sorted(dict.fromkeys(media for media, _ in content), key=_other_than_json)
        accept = (
            [*kinds[:MAX_ACCEPTED], "*/*;q=0.1"] if kinds else ["application/json", "*/*;q=0.5"]
        )
        return self._result_schema(schema), ", ".join(accept)

    def _content(self, response: Json) -> Mapping[str, JsonObject]:
        try:
            content = objects(self._document.object(response).get("content"))
        except Unusable:
            return {}  # it can be called all the same
        return {media: inner for media, inner in content.items() if is_media(media)}

    def _result_schema(self, schema: Json) -> JsonObject | None:
        try:
            if schema:
                return self._results.alone(self._results.translated(self._document.object(schema)))
        except Unusable:
            pass  # see above
        return None

    def _signed_by(self, said: JsonObject) -> tuple[str, ...]:
        """The first alternative for which there are all credentials."""
        wanted = said.get("security", self._document.root.get("security"))
        for each in listed(wanted):
            if isinstance(each, dict) and each and self._choice.credentials.issuperset(each):
                return tuple(each)
        return ()


def _other_than_json(media: str) -> bool:
    return "json" not in media


def _wrapped(schema: JsonObject) -> JsonObject:
    """Structured content is an object (MCP 2025-11-25, server/tools); the mark says that this one
    is there for that alone, so that scripts get the value itself."""
    inner = {key: value for key, value in schema.items() if key != "$defs"}
    kept = {"$defs": schema["$defs"]} if "$defs" in schema else {}
    return {
        "type": "object",
        "properties": {"result": inner},
        "required": ["result"],
        "x-fastmcp-wrap-result": True,
        **kept,
    }


def _annotations(method: str, said: JsonObject) -> JsonObject:
    """What the method says (RFC 9110, 9.2); of POST nobody knows, so nothing is claimed."""
    title = shortened(text(said.get("summary")), MAX_TITLE_CHARS)
    hints: JsonObject = {"title": title} if title else {}
    if method in _READS:
        return {**hints, "readOnlyHint": True, "idempotentHint": True, "openWorldHint": True}
    hints |= {"readOnlyHint": False, "openWorldHint": True, "idempotentHint": method in _IDEMPOTENT}
    return hints if method == "post" else {**hints, "destructiveHint": True}


def _description(method: str, path: str, said: JsonObject) -> str:
    """What it does, and at last where: models know many an API by its paths."""
    summary, details = plain(said.get("summary")), plain(said.get("description"))
    if details.startswith(summary.rstrip(".")):
        summary = ""
    words = [summary if not summary or summary[-1] in ".!?" else f"{summary}.", details]
    about = shortened(" ".join(filter(None, words)), MAX_DESCRIPTION_CHARS)
    old = "Deprecated. " if said.get("deprecated") is True else ""
    return f"{old}{about}\n{method.upper()} {path}".strip()


def plain(said: Json) -> str:
    """Markdown and HTML as the words that it shows."""
    words = _TAGS.sub(" ", _LINK.sub(r"\1", text(said)[:10_000]))
    return " ".join(words.split())


def _sent(document: Document, choice: OperationChoice) -> Iterator[tuple[str, str]]:
    """Place and name of what the gateway sends by itself."""
    yield from (("header", name) for name in choice.headers)
    for name, scheme in security_schemes(document).items():
        key, place = text(scheme.get("name")), text(scheme.get("in"))
        if name in choice.credentials and scheme.get("type") == "apiKey":
            yield place, key.lower() if place == "header" else key


def security_schemes(document: Document) -> Mapping[str, JsonObject]:
    """The document's security schemes by name."""
    if document.is_swagger:
        return objects(document.root.get("securityDefinitions"))
    components = document.root.get("components")
    found = objects(components.get("securitySchemes") if isinstance(components, dict) else None)
    return {name: _followed(document, scheme) for name, scheme in found.items()}


def _followed(document: Document, scheme: JsonObject) -> JsonObject:
    try:
        return document.object(scheme)
    except Unusable:
        return {}
