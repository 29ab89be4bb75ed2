"""What passes between a server and the clients while their requests run on its session.

Owns the association from our requests to the ``Exchange`` of the client behind each: progress by
token; log messages and the server's own requests (sampling, elicitation, roots) by the request that
was sent last, since the handshake era gives no better hint when several run on one session. Knows
no transport and no client.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import msgspec

from mcproxy.errors import PeerClosed, RpcError
from mcproxy.exchange import Exchange
from mcproxy.types import Json, JsonObject
from mcproxy.wire.message import UNREADABLE, Failure, Notification, Request, RequestId, Response

ASKABLE = ("sampling/createMessage", "elicitation/create", "roots/list")
CAPABILITIES = ("sampling", "elicitation", "roots")

MAX_ASKED = 64  # requests of one server that wait for people; each may wait for minutes
TOO_MANY = -32000  # JSON-RPC 2.0, section 5.1: of the range for the server's own errors

_LOG_LEVEL = "io.modelcontextprotocol/logLevel"
_CLIENT_CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
_OF_ONE_HOP = frozenset(  # members of a request's `_meta` that say who sends it, and how
    {
        "progressToken",
        "io.modelcontextprotocol/protocolVersion",
        "io.modelcontextprotocol/clientInfo",
        _CLIENT_CAPABILITIES,
        _LOG_LEVEL,
    }
)
_object = msgspec.json.Decoder(dict[str, Json])
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class _Passage:
    """One request under way: its client, and the server's requests that it answers."""

    exchange: Exchange
    tasks: asyncio.TaskGroup
    asked: dict[RequestId, asyncio.Task[None]] = field(default_factory=dict)


class Relay:
    """The passages of one session; ``reply`` sends an answer to the server."""

    def __init__(self, reply: Callable[[Response | Failure], None]) -> None:
        self._reply = reply
        self._tokens = itertools.count(1)
        self._passages: dict[int, _Passage] = {}

    async def carry(self, exchange: Exchange, send: Callable[[int], Awaitable[bytes]]) -> bytes:
        """Let ``send`` make a request, given its progress token, on behalf of a client.

        Raises what it raises. What the server asks meanwhile is answered within; what is still
        open when the reply comes is given up.
        """
        token = next(self._tokens)
        outcome: bytes | RpcError | PeerClosed
        async with asyncio.TaskGroup() as tasks:
            passage = self._passages[token] = _Passage(exchange, tasks)
            try:
                outcome = await send(token)
            except (RpcError, PeerClosed) as error:
                outcome = error  # as a value: a TaskGroup would wrap the exception
            finally:
                del self._passages[token]
                for task in passage.asked.values():
                    task.cancel()
        if isinstance(outcome, bytes):
            return outcome
        raise outcome

    def notified(self, note: Notification) -> bool:
        """Pass a notification on to the client that it concerns; False for one of another kind."""
        match note.method:
            case "notifications/progress":
                self._progress(_read(note.params))
            case "notifications/message" | "notifications/elicitation/complete":
                if passage := self._latest():
                    passage.exchange.notify(note.method, _read(note.params))
            case "notifications/cancelled":
                self._withdrawn(_read(note.params).get("requestId"))
            case _:
                return False
        return True

    def asked(self, request: Request) -> None:
        """Pass a request of the server on to a client, and its answer back."""
        passage = self._latest()
        if request.method == "ping":
            self._reply(Response(request.id, b"{}"))
        elif request.method not in ASKABLE:
            text = f"{request.method} is not offered by this client"
            self._reply(Failure(request.id, RpcError(RpcError.METHOD_NOT_FOUND, text)))
        elif passage is None:
            text = f"{request.method} can be answered only while a client's request is running"
            self._reply(Failure(request.id, RpcError(RpcError.INVALID_REQUEST, text)))
        elif sum(len(each.asked) for each in self._passages.values()) >= MAX_ASKED:
            text = f"{MAX_ASKED} requests of this server are being answered; wait for some"
            self._reply(Failure(request.id, RpcError(TOO_MANY, text)))
        else:
            task = passage.tasks.create_task(self._ask(passage, request))
            passage.asked[request.id] = task

    async def _ask(self, passage: _Passage, request: Request) -> None:
        try:
            answer = await passage.exchange.ask(request.method, _read(request.params))
            self._reply(Response(request.id, _encode(answer)))
        except RpcError as error:
            self._reply(Failure(request.id, error))
        finally:
            passage.asked.pop(request.id, None)

    def _latest(self) -> _Passage | None:
        return next(reversed(self._passages.values()), None)

    def _progress(self, params: JsonObject) -> None:
        ours = params.get("progressToken")
        passage = self._passages.get(ours) if isinstance(ours, int) else None
        theirs = passage.exchange.meta.get("progressToken") if passage else None
        if passage and theirs is not None:
            passage.exchange.notify("notifications/progress", params | {"progressToken": theirs})

    def _withdrawn(self, request_id: Json) -> None:
        if not isinstance(request_id, int | str):
            return
        for passage in self._passages.values():
            if task := passage.asked.get(request_id):
                task.cancel()


def request_meta(own: Mapping[str, Json], exchange: Exchange, token: int) -> JsonObject:
    """The ``_meta`` of a request to the server.

    What the client sent goes through, but for what concerns its own hop: ``own`` is what our
    session says of itself (nothing in the handshake era), the progress token is ours.
    """
    meta = {key: value for key, value in exchange.meta.items() if key not in _OF_ONE_HOP}
    if "progressToken" in exchange.meta:
        meta["progressToken"] = token
    if own:
        meta |= own
        meta[_CLIENT_CAPABILITIES] = {
            name: exchange.capabilities[name]
            for name in CAPABILITIES
            if name in exchange.capabilities
        }
        if exchange.log_level:
            meta[_LOG_LEVEL] = exchange.log_level
    return meta


async def answers(exchange: Exchange, wanted: Mapping[str, Json]) -> JsonObject:
    """Ask the client for each input that an ``input_required`` result wants, one after the other.

    Raises RpcError where it cannot be asked (MCP 2026-07-28, basic/patterns/mrtr).
    """
    given: JsonObject = {}
    for key, request in wanted.items():
        method = request.get("method") if isinstance(request, dict) else None
        if not isinstance(request, dict) or method not in ASKABLE:
            raise RpcError(RpcError.INVALID_PARAMS, f"the server wants an unknown input: {method}")
        params = request.get("params")
        given[key] = await exchange.ask(str(method), params if isinstance(params, dict) else {})
    return given


def _read(params: bytes) -> JsonObject:
    with contextlib.suppress(*UNREADABLE):
        return _object.decode(params)
    return {}
