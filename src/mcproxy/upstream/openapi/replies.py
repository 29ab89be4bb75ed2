"""An API's answer as a tool's result (MCP 2025-11-25, server/tools, "Tool Result"). Pure.

JSON becomes structured content and its text, text is text, pictures and sounds are what MCP has for
them, everything else is a resource with its bytes. A status that is none of success is a result
that says so, with the head of what the API said.
"""

import base64
from collections.abc import Collection
from http import HTTPStatus

import msgspec

from mcproxy.types import Json, JsonObject
from mcproxy.upstream.openapi.operations import Operation
from mcproxy.upstream.remote.refusal import named, without
from mcproxy.wire.message import UNREADABLE, is_deep

MAX_TEXT_BYTES = 256 << 10  # of JSON that is told twice: as it is, and as text
MAX_ERROR_CHARS = 4_000  # of what an API says of its refusal
MAX_ERROR_BYTES = 16 << 10  # of the same where it is JSON, for programs

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class ApiReply(msgspec.Struct, frozen=True):
    """What the API answered; ``uri`` is its address without what was asked."""

    status: int
    media: str
    body: bytes
    uri: str


def result_of(operation: Operation, reply: ApiReply) -> bytes:
    """The result of a call that succeeded, as raw JSON."""
    if not reply.body:
        return _result(
            [_text(named(reply.status))], b"null" if operation.wraps else None, wraps=True
        )
    if "json" in reply.media and _is_json(reply.body):
        wraps = operation.wraps or reply.body.lstrip()[:1] != b"{"
        return _result([_text(_told(reply.body))], reply.body, wraps=wraps)
    content = _content(reply)
    if not operation.wraps:
        return _result([content])
    return _result([content], _encode(content.get("text")), wraps=True)


def refusal_words(reply: ApiReply, secrets: Collection[str], server: str) -> str:
    """What the API refused with; secrets are kept out of it."""
    said = without(reply.body.decode("utf-8", "replace"), secrets)
    words = f"{named(reply.status)}: {said[:MAX_ERROR_CHARS]}".rstrip(": ")
    if reply.status == HTTPStatus.UNAUTHORIZED:
        words += f"\n(Are the `credentials` or `headers` of server {server!r} right?)"
    return words


def refusal_of(reply: ApiReply, secrets: Collection[str], server: str) -> bytes:
    """The same as the result of a call, with status and body for programs."""
    words = refusal_words(reply, secrets, server)
    said = without(reply.body.decode("utf-8", "replace"), secrets)
    body: Json = None
    if "json" in reply.media and len(said) <= MAX_ERROR_BYTES and _is_json(said.encode()):
        body = _decode(said)
    told: JsonObject = {"status": reply.status, "body": body}
    return _encode({"content": [_text(words)], "structuredContent": told, "isError": True})


def _result(content: list[Json], structured: bytes | None = None, *, wraps: bool = False) -> bytes:
    blocks = _encode(content)
    if structured is None:
        return b'{"content":%b}' % blocks
    value = b'{"result":%b}' % structured if wraps else structured
    return b'{"content":%b,"structuredContent":%b}' % (blocks, value)


def _told(body: bytes) -> str:
    said = body.decode()
    if len(body) <= MAX_TEXT_BYTES:
        return said
    return f"{said[:2000]}… ({len(body)} bytes of JSON, whole in structuredContent)"


def _content(reply: ApiReply) -> JsonObject:
    kind, _, form = reply.media.partition("/")
    is_text = kind == "text" or form.endswith(("xml", "yaml", "javascript", "json"))
    if is_text or not reply.media:
        try:
            return _text(reply.body.decode())
        except UnicodeDecodeError:
            pass
    data = base64.b64encode(reply.body).decode()
    if kind in ("image", "audio"):
        return {"type": kind, "data": data, "mimeType": reply.media}
    media = reply.media or "application/octet-stream"
    return {"type": "resource", "resource": {"uri": reply.uri, "mimeType": media, "blob": data}}


def _text(words: str) -> JsonObject:
    return {"type": "text", "text": words}


def _is_json(body: bytes) -> bool:
    """Whether it is JSON in UTF-8 that can be walked."""
    try:
        body.decode()
        return not is_deep(body, _decode(body))
    except UNREADABLE:
        return False
