"""From arguments to an HTTP request, as the operation says (OpenAPI 3.1, "Style Values"). Pure.

What stands in a path stays one segment of it: a value that would lead elsewhere is refused. Nothing
of what the gateway sends by itself can be set by arguments.
"""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias
from urllib.parse import quote, urlencode

import httpx
import msgspec

from mcproxy.errors import RpcError
from mcproxy.types import Json, JsonObject
from mcproxy.upstream.openapi.arguments import ApiParameter, Body, Place
from mcproxy.upstream.openapi.document import BadDescription, text
from mcproxy.upstream.openapi.operations import Operation

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SEPARATORS = {"spaceDelimited": "%20", "pipeDelimited": "%7C"}
_MAX_NESTING = 8  # of what is written as name[key][key]

_encode = msgspec.json.Encoder().encode

Pair: TypeAlias = tuple[str, str]
Given: TypeAlias = tuple[ApiParameter, Json]


@dataclass(frozen=True, slots=True)
class Signature:
    """What a credential adds to a request."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    query: tuple[Pair, ...] = field(default=(), repr=False)
    cookies: tuple[Pair, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """A request to send; ``target`` is path and query."""

    method: str
    target: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    content: bytes | None = field(repr=False)


def signature(name: str, scheme: JsonObject, secret: str) -> Signature:
    """What a credential for a security scheme adds. Raises BadDescription."""
    kind, place, key = text(scheme.get("type")), text(scheme.get("in")), text(scheme.get("name"))
    how = text(scheme.get("scheme")).lower()
    if kind == "apiKey" and place == "header":
        return Signature(headers={key: secret})
    if kind == "apiKey" and place == "query":
        return Signature(query=((key, secret),))
    if kind == "apiKey" and place == "cookie":
        return Signature(cookies=((key, secret),))
    if kind == "basic" or (kind == "http" and how == "basic"):
        coded = base64.b64encode(secret.encode()).decode()
        return Signature(headers={"Authorization": f"Basic {coded}"})
    if kind in ("http", "oauth2", "openIdConnect"):
        word = how.title() if kind == "http" and how else "Bearer"
        return Signature(headers={"Authorization": f"{word} {secret}"})
    raise BadDescription(f"its security scheme {name!r} is of a kind that is not known: {kind!r}")


def request_of(
    operation: Operation, arguments: Mapping[str, Json], signatures: Sequence[Signature]
) -> ApiRequest:
    """The request for a call. Raises RpcError for arguments that cannot be sent."""
    given = [
        (parameter, arguments[name])
        for name, parameter in operation.parameters.items()
        if name in arguments and (arguments[name] is not None or parameter.place == "body")
    ]
    path = operation.path
    for parameter, value in _at("path", given):
        path = path.replace(f"{{{parameter.name}}}", _segment(parameter, value))
    members = {parameter.name: value for parameter, value in _at("body", given)}
    content, kind = _body(operation.body, members)
    return ApiRequest(
        operation.method,
        _whole(path) + _query_of(_at("query", given), signatures),
        {
            "Accept": operation.accept,
            **{
                parameter.name: _header(parameter, value)
                for parameter, value in _at("header", given)
            },
            **_cookies_of(_at("cookie", given), signatures),
            **({"Content-Type": kind} if kind else {}),
            **{key: value for signed in signatures for key, value in signed.headers.items()},
        },
        content,
    )


def _at(place: Place, given: Sequence[Given]) -> list[Given]:
    return [each for each in given if each[0].place == place]


def _query_of(given: Sequence[Given], signatures: Sequence[Signature]) -> str:
    pairs = [pair for parameter, value in given for pair in _query(parameter, value)]
    signed = [pair for each in signatures for pair in _coded(iter(each.query))]
    pairs = _apart(pairs, signed) + signed
    told = "&".join(f"{key}={value}" for key, value in pairs)
    return f"?{told}" if told else ""


def _cookies_of(given: Sequence[Given], signatures: Sequence[Signature]) -> dict[str, str]:
    pairs = [
        (quote(key, safe=""), quote(said, safe=""))
        for parameter, value in given
        for key, said in _pairs(parameter.name, value)
    ]
    signed = [pair for each in signatures for pair in each.cookies]
    told = "; ".join(f"{key}={value}" for key, value in _apart(pairs, signed) + signed)
    return {"Cookie": told} if told else {}


def _apart(pairs: Sequence[Pair], signed: Sequence[Pair]) -> list[Pair]:
    """The pairs without those that have the key of a credential: keys may be arguments too."""
    keys = {key for key, _ in signed}
    return [pair for pair in pairs if pair[0] not in keys]


def _whole(path: str) -> str:
    """The path, if every variable is filled in and nothing in it leads elsewhere."""
    if "{" in path:
        raise _refused(f"{path}: a parameter of the path is missing")
    if any(segment in (".", "..") for segment in path.split("/")):
        raise _refused("a parameter of the path must not be '.' or '..'")
    return path


def _segment(parameter: ApiParameter, value: Json) -> str:
    pieces = list(_pieces(value, pairs=parameter.explode))
    joined = ",".join(quote(piece, safe="=" if isinstance(value, dict) else "") for piece in pieces)
    if not joined:
        raise _refused(f"{parameter.name!r} stands in the path and must not be empty")
    match parameter.style:
        case "label":
            return f".{joined}"
        case "matrix":
            return f";{quote(parameter.name, safe='')}={joined}"
    return joined


def _query(parameter: ApiParameter, value: Json) -> Iterator[Pair]:
    """Keys and values, encoded."""
    name = quote(parameter.name, safe="[]")
    if parameter.as_json:
        yield name, quote(_encode(value), safe="")
    elif parameter.style == "deepObject":
        yield from _coded(_deep(parameter.name, value))
    elif parameter.explode:
        yield from _coded(_pairs(parameter.name, value))
    else:
        separator = _SEPARATORS.get(parameter.style, ",")
        pieces = (quote(piece, safe="") for piece in _pieces(value, pairs=False))
        yield name, separator.join(pieces)


def _coded(pairs: Iterator[Pair]) -> Iterator[Pair]:
    return ((quote(key, safe="[]"), quote(value, safe="")) for key, value in pairs)


def _header(parameter: ApiParameter, value: Json) -> str:
    written = ",".join(_pieces(value, pairs=parameter.explode))
    if _CONTROL.search(written):
        raise _refused(f"{parameter.name!r} is a header and must be one line")
    return written


def _pairs(name: str, value: Json) -> Iterator[Pair]:
    """A value with a key of its own for each item or member."""
    if isinstance(value, list):
        yield from ((name, _scalar(item)) for item in value)
    elif isinstance(value, dict):
        yield from ((key, _scalar(inner)) for key, inner in value.items())
    else:
        yield name, _scalar(value)


def _deep(name: str, value: Json, depth: int = 0) -> Iterator[Pair]:
    """``name[key]`` for each member, ``name[0]`` for each item."""
    inner = _members_of(value)
    if inner is None or depth >= _MAX_NESTING:
        yield name, _scalar(value)
        return
    for key, each in inner:
        yield from _deep(f"{name}[{key}]", each, depth + 1)


def _members_of(value: Json) -> Iterator[tuple[str | int, Json]] | None:
    if isinstance(value, dict):
        return iter(value.items())
    return iter(enumerate(value)) if isinstance(value, list) else None


def _pieces(value: Json, *, pairs: bool) -> Iterator[str]:
    """A value in pieces, for one text: members as ``key=value``, or as key and value."""
    if isinstance(value, list):
        yield from map(_scalar, value)
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from [f"{key}={_scalar(inner)}"] if pairs else [key, _scalar(inner)]
    else:
        yield _scalar(value)


def _scalar(value: Json) -> str:
    return value if isinstance(value, str) else _encode(value).decode()


def _body(body: Body | None, members: JsonObject) -> tuple[bytes | None, str]:
    """The body and its media type; none where no argument is for it."""
    if body is None or not (members or body.required):
        return None, ""
    whole: Json = members.get("body") if body.whole else members
    match body.kind:
        case "json":
            return _encode(whole), body.media
        case "form":
            return urlencode(list(_form(body, whole))).encode(), body.media
        case "multipart":
            return _multipart(body, whole)
        case "text":
            return _scalar(whole).encode(), f"{body.media}; charset=utf-8"
        case "binary":
            return _bytes_of("body", whole), body.media


def _form(body: Body, whole: Json) -> Iterator[Pair]:
    for name, value in (_members_of(whole) if isinstance(whole, dict) else None) or ():
        if isinstance(value, dict) or (isinstance(value, list) and name in body.deep):
            yield from _deep(str(name), value)
        else:
            yield from _pairs(str(name), value)


def _multipart(body: Body, whole: Json) -> tuple[bytes, str]:
    """Parts with a boundary of httpx's making, which is random."""
    parts: list[tuple[str, tuple[str | None, bytes]]] = []
    for name, value in whole.items() if isinstance(whole, dict) else ():
        if name in body.files:
            given = value if isinstance(value, list) else [value]
            parts += ((name, (name, _bytes_of(name, each))) for each in given)
        elif isinstance(value, dict):
            parts.append((name, (None, _encode(value))))
        else:
            parts += ((key, (None, one.encode())) for key, one in _pairs(name, value))
    request = httpx.Request("POST", "http://localhost", files=parts)
    return request.read(), request.headers["Content-Type"]


def _bytes_of(name: str, value: Json) -> bytes:
    try:
        return base64.b64decode(_scalar(value), validate=True)
    except binascii.Error as error:
        raise _refused(f"{name!r} is to be bytes in base64: {error}") from error


def _refused(words: str) -> RpcError:
    return RpcError(RpcError.INVALID_PARAMS, words)
