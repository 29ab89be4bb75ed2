"""JSON-RPC 2.0 messages as values: bytes to Request, Notification, Response, Failure, and back; the
lines that carry them over stdio; and how deeply JSON may nest that others wrote, where the program
is to walk it.

``params`` and ``result`` stay raw JSON (``bytes``) until somebody needs what is inside, so a reply
of megabytes passes through without being parsed. Pure; knows no MCP method and no transport. A line
over the limit is not kept, but its first and last bytes are, so that whoever waits for the message
can be told which one was lost.

Reading is bounded by the interpreter (some 1000 levels in Python 3.11, 10,000 in 3.13); what walks
a value (masking, comparing) takes several frames a level, of which there are 1000 in all.
"""

import re
import string
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

import msgspec

from mcproxy.errors import RpcError
from mcproxy.types import Json

MAX_DEPTH = 128  # a worker makes nothing deeper than 100; no real schema or error comes near


def is_deep(text: bytes, decoded: Json) -> bool:
    """Whether a value nests deeper than MAX_DEPTH; ``text`` is its JSON."""
    if text.count(b"[") + text.count(b"{") <= MAX_DEPTH:
        return False  # nearly always: not even enough brackets
    level = [decoded]
    for _ in range(MAX_DEPTH):
        level = [inner for outer in level for inner in _members(outer)]
    return any(isinstance(inner, dict | list) for inner in level)


def _members(value: Json) -> Iterable[Json]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


RequestId: TypeAlias = int | str

MAX_BATCH = 1000  # messages; a body of 4 MiB has room for 80,000, each answered with kilobytes
EMPTY_OBJECT = b"{}"
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What the reading of JSON that others wrote can end with: no JSON, no UTF-8, nested too deeply."""

# How SDKs begin a reply, or end it: the id stands beside the version.
_EDGE_BYTES = 256
_BEGINS = re.compile(rb'\s*\{\s*"jsonrpc"\s*:\s*"2\.0"\s*,\s*"id"\s*:\s*(\d{1,18})\s*,')
_ENDS = re.compile(rb'"jsonrpc"\s*:\s*"2\.0"\s*,\s*"id"\s*:\s*(\d{1,18})\s*\}\s*\Z')


class Request(msgspec.Struct, frozen=True):
    """A call that wants a reply; ``params`` is raw JSON, ``{}`` where the message had none."""

    id: RequestId
    method: str
    params: bytes = EMPTY_OBJECT


class Notification(msgspec.Struct, frozen=True):
    """A message without reply."""

    method: str
    params: bytes = EMPTY_OBJECT


class Response(msgspec.Struct, frozen=True):
    """The reply to a request; ``result`` is raw JSON.

    ``retry_after``: it is a refusal, and in so many seconds the same request may succeed. Not
    written: a transport may have a place of its own for it, as HTTP has.
    """

    id: RequestId
    result: bytes
    retry_after: int | None = None


class Failure(msgspec.Struct, frozen=True):
    """The error reply to a request; ``id`` is None where the request could not be read."""

    id: RequestId | None
    error: RpcError

    @property
    def retry_after(self) -> int | None:
        """As in ``Response``."""
        return self.error.retry_after


Message: TypeAlias = Request | Notification | Response | Failure


class _Envelope(msgspec.Struct):
    jsonrpc: Json = None
    id: int | str | float | msgspec.UnsetType | None = msgspec.UNSET
    method: str | msgspec.UnsetType = msgspec.UNSET
    params: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _ErrorObject(msgspec.Struct):
    code: int = RpcError.INTERNAL_ERROR
    message: str = "the peer sent an error without a message"
    data: Json = None


_envelope = msgspec.json.Decoder(_Envelope)
_raw_list = msgspec.json.Decoder(list[msgspec.Raw])
_error_object = msgspec.json.Decoder(_ErrorObject)
_encode = msgspec.json.Encoder().encode


def decode(data: bytes | memoryview | msgspec.Raw) -> Message:
    """Read one message.

    Lenient where servers in the field are (a missing ``jsonrpc`` member, a float id, an odd error
    object). Raises RpcError: PARSE_ERROR for what is not JSON in UTF-8 (RFC 8259, section 8.1),
    INVALID_REQUEST for what is no JSON-RPC message.
    """
    try:
        _require_text(data)
        envelope = _envelope.decode(data)
    except msgspec.ValidationError as error:
        raise RpcError(RpcError.INVALID_REQUEST, f"not a JSON-RPC message: {error}") from error
    except UNREADABLE as error:
        raise RpcError(RpcError.PARSE_ERROR, f"the message is not valid JSON: {error}") from error
    return _classify(envelope)


def decode_body(body: bytes) -> Message | list[Message | RpcError]:
    """Read one message or a batch (JSON-RPC 2.0, section 6); in a batch each fault stands alone.

    Raises RpcError as ``decode`` does, and INVALID_REQUEST for a batch that is empty or has over
    MAX_BATCH messages.
    """
    if body.lstrip()[:1] != b"[":
        return decode(body)
    try:
        items = _raw_list.decode(body)
    except UNREADABLE as error:
        raise RpcError(RpcError.PARSE_ERROR, f"the message is not valid JSON: {error}") from error
    if not items:
        raise RpcError(RpcError.INVALID_REQUEST, "the batch is empty; send at least one request")
    if len(items) > MAX_BATCH:
        text = f"the batch has {len(items)} messages, the limit is {MAX_BATCH}; send several"
        raise RpcError(RpcError.INVALID_REQUEST, text)
    return [_decode_or_error(item) for item in items]


def stand_in(data: bytes, fault: RpcError) -> Failure | None:
    """What takes the place of a reply that ``decode`` refused with ``fault``, so that whoever waits
    for it need not wait in vain; None for what is no broken reply (a banner, a line of a log)."""
    if fault.code != RpcError.PARSE_ERROR:
        return None
    found = _BEGINS.match(data[:_EDGE_BYTES]) or _ENDS.search(data[-_EDGE_BYTES:])
    if found is None:
        return None
    error = RpcError(RpcError.INTERNAL_ERROR, f"its reply cannot be read: {fault.message}")
    return Failure(int(found[1]), error)


def encode(message: Message) -> bytes:
    """Write one message as JSON without line breaks, so that it can be a line on stdio."""
    match message:
        case Request(id=id_, method=method, params=params):
            return b'{"jsonrpc":"2.0","id":%b,"method":%b,"params":%b}' % (
                _encode(id_),
                _encode(method),
                one_line(params),
            )
        case Notification(method=method, params=params):
            return b'{"jsonrpc":"2.0","method":%b,"params":%b}' % (
                _encode(method),
                one_line(params),
            )
        case Response(id=id_, result=result):
            return b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (_encode(id_), one_line(result))
        case Failure(id=id_, error=error):
            return b'{"jsonrpc":"2.0","id":%b,"error":%b}' % (_encode(id_), _error_bytes(error))


def encode_batch(messages: Sequence[Message]) -> bytes:
    """Write a batch."""
    return batch_of([encode(message) for message in messages])


def batch_of(texts: Sequence[bytes]) -> bytes:
    """Write a batch of messages that are written already."""
    return b"[" + b",".join(texts) + b"]"


def one_line(raw: bytes) -> bytes:
    """Raw JSON without line breaks: inside JSON they can only be white space (RFC 8259, 7)."""
    if b"\n" in raw or b"\r" in raw:
        return raw.replace(b"\n", b" ").replace(b"\r", b" ")
    return raw


def _require_text(data: bytes | memoryview | msgspec.Raw) -> None:
    """msgspec does not look into what stays raw."""
    whole = bytes(data)
    if not whole.isascii():
        whole.decode()


def _classify(envelope: _Envelope) -> Message:
    id_ = envelope.id if type(envelope.id) is int else _request_id(envelope.id)
    if isinstance(envelope.method, str):
        params = EMPTY_OBJECT if envelope.params is msgspec.UNSET else bytes(envelope.params)
        params = EMPTY_OBJECT if params == b"null" else params
        if envelope.id is msgspec.UNSET:
            return Notification(envelope.method, params)
        if id_ is None:
            raise RpcError(RpcError.INVALID_REQUEST, "a request's id is a string or a number")
        return Request(id_, envelope.method, params)
    if isinstance(envelope.error, msgspec.Raw) and bytes(envelope.error) != b"null":
        return Failure(id_, _read_error(bytes(envelope.error)))
    if isinstance(envelope.result, msgspec.Raw) and id_ is not None:
        return Response(id_, bytes(envelope.result))
    raise RpcError(
        RpcError.INVALID_REQUEST,
        'not a JSON-RPC message: expected "method" (a request), or "id" with "result" or "error"',
    )


def _request_id(id_: float | str | msgspec.UnsetType | None) -> RequestId | None:
    if isinstance(id_, float):
        return int(id_) if id_.is_integer() else str(id_)
    if isinstance(id_, int | str):
        return id_
    return None


def _read_error(raw: bytes) -> RpcError:
    try:
        error = _error_object.decode(raw)
    except UNREADABLE:
        text = raw.decode("utf-8", "replace")[:500]
        return RpcError(RpcError.INTERNAL_ERROR, f"the peer sent an odd error: {text}")
    data = None if is_deep(raw, error.data) else error.data
    return RpcError(error.code, error.message, data)


def _error_bytes(error: RpcError) -> bytes:
    body: dict[str, Json] = {"code": error.code, "message": error.message}
    if error.data is not None:
        body["data"] = error.data
    return _encode(body)


def _decode_or_error(item: msgspec.Raw) -> Message | RpcError:
    try:
        return decode(item)
    except RpcError as error:
        return error


MAX_LINE_BYTES = 16 << 20
EDGE_BYTES = 1024  # enough to find "id" at either end of a message


class Overlong(msgspec.Struct, frozen=True):
    """A line that exceeded the limit; ``size`` in bytes, ``edges`` its beginning and its end."""

    size: int
    edges: bytes


# What a secret is made of, as a rule.
_WORD = (string.ascii_letters + string.digits + "+/=_-.~%").encode()


def head(data: bytes, limit: int) -> str:
    """The beginning for a log or an error, at most ``limit`` bytes, and no part of a word: half a
    secret would not be known as one."""
    whole = data if len(data) <= limit else data[:limit].rstrip(_WORD)
    return whole.decode("utf-8", "replace")


def tail(data: bytes, limit: int) -> bytes:
    """The end, likewise."""
    return data if len(data) <= limit else data[-limit:].lstrip(_WORD)


class LineSplitter:
    """Feed it chunks of any size; it gives back whole lines without their line break.

    Empty lines are passed over unless ``blanks`` are wanted.
    """

    def __init__(self, limit: int = MAX_LINE_BYTES, *, blanks: bool = False) -> None:
        self._limit = limit
        self._blanks = blanks
        self._parts: list[bytes] = []
        self._size = 0
        self._head: bytes | None = None
        self._tail = b""

    def feed(self, chunk: bytes) -> Iterator[bytes | Overlong]:
        """Take one chunk; yield the lines that it completes."""
        *ended, rest = chunk.split(b"\n")
        for piece in ended:
            if not (piece or self._size or self._blanks):
                continue
            if self._size or len(piece) > self._limit:
                self._add(piece)
                line = self._take()
            else:
                line = piece.strip()  # nearly always: it came as a whole
            if line or self._blanks:
                yield line
        if rest:
            self._add(rest)

    def _add(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._head is not None:
            self._tail = (self._tail + piece)[-EDGE_BYTES:]
            return
        self._parts.append(piece)
        if self._size > self._limit:
            whole = b"".join(self._parts)
            self._head, self._tail = whole[:EDGE_BYTES], whole[-EDGE_BYTES:]
            self._parts = []

    def _take(self) -> bytes | Overlong:
        line: bytes | Overlong
        if self._head is not None:
            line = Overlong(self._size, self._head + self._tail)
        else:
            line = (self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)).strip()
        self._parts, self._size, self._head, self._tail = [], 0, None, b""
        return line
