"""What passes between a server and the clients while their requests run on its session.

Owns the association from our requests to the ``Exchange`` of the client behind each. What a server
sends belongs to the request that it names: by the progress token, which is the request's id, by the
stream on which it comes, or by the elicitation that it was asked with. What names none (on stdio, a
question or a log message never does) goes to a client only where all that the server may be working
on is of one tenant; nobody else may see it, let alone answer it. Knows no transport and no client.

What a server may be working on is more than what is under way: whoever cancels a request, or no
longer waits for it, cannot know when the server stops. An answer that comes late settles the
matter. Where messages come on several streams, what was sent before an answer may arrive after it.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping

import msgspec

from mcproxy import mcp
from mcproxy.cancellation import GRACE_SECS, finish
from mcproxy.errors import RpcError
from mcproxy.exchange import Exchange, Tenant, may_own
from mcproxy.types import Json, JsonObject
from mcproxy.upstream.serverlog import ServerLog
from mcproxy.wire.message import UNREADABLE, Failure, Notification, Request, RequestId, Response

MAY_WORK_SECS = 600.0  # as long as a person may be asked; what a server does takes less
LAG_SECS = 2.0  # longer than a network delays one of two streams
MAX_KEPT = 256  # of each kind; beyond, it is not remembered whose they are, only that they are


class PossibleOwners:
    """Tenants, each for a bounded time. ``now`` is in seconds, of any clock that never goes back.

    ``lag_secs``: how long after an answer there may be messages that were sent before it.
    """

    def __init__(self, lag_secs: float = 0.0) -> None:
        self.lag_secs = lag_secs
        self._given_up: dict[int, tuple[Tenant, float]] = {}
        self._answered: dict[Tenant, float] = {}
        self._anybody_until = 0.0

    def gave_up(self, id_: int, tenant: Tenant, now: float) -> None:
        """A request was given up without an answer."""
        self._given_up[id_] = tenant, now + MAY_WORK_SECS
        if len(self._given_up) > MAX_KEPT:
            _, until = self._given_up.pop(next(iter(self._given_up)))
            self._anybody_until = max(self._anybody_until, until)

    def answered_late(self, id_: int) -> None:
        """The server is done with a request that was given up."""
        self._given_up.pop(id_, None)

    def answered(self, tenant: Tenant, now: float) -> None:
        """The server is done with a request."""
        if not self.lag_secs:
            return
        self._answered.pop(tenant, None)  # so that the oldest is always the first
        self._answered[tenant] = now + self.lag_secs
        if len(self._answered) > MAX_KEPT:
            until = self._answered.pop(next(iter(self._answered)))
            self._anybody_until = max(self._anybody_until, until)

    def only(self, tenant: Tenant, now: float) -> bool:
        """Whether there is no other than this one."""
        if self._anybody_until > now:
            return False
        self._given_up = {id_: one for id_, one in self._given_up.items() if one[1] > now}
        self._answered = {one: until for one, until in self._answered.items() if until > now}
        others = (*(each for each, _ in self._given_up.values()), *self._answered)
        return all(each == tenant for each in others)


MAX_ASKED = 64  # requests of one server that wait for people; each may wait for minutes

SPOKEN: JsonObject = {mcp.TASKS: {}}
"""The extensions that a session knows itself, whoever the client is, with their settings."""

_OF_ONE_HOP = frozenset(  # members of a request's `_meta` that say who sends it, and how
    {
        mcp.META_PROGRESS_TOKEN,
        mcp.META_VERSION,
        mcp.META_CLIENT_INFO,
        mcp.META_CLIENT_CAPABILITIES,
        mcp.META_LOG_LEVEL,
    }
)
_SEVERAL = (
    "requests of several clients are under way, or may be, and it does not say whose it is; "
    '"affinity": "client" in the server\'s definition gives each client an instance of its own'
)

log = logging.getLogger(__name__)

_object = msgspec.json.Decoder(dict[str, Json])
_encode = msgspec.json.Encoder().encode


class _Passage(msgspec.Struct, frozen=True):
    """One request under way: its client, and the server's requests that it answers."""

    exchange: Exchange
    asked: dict[RequestId, asyncio.Task[None]] = msgspec.field(default_factory=dict)
    elicitations: set[str] = msgspec.field(default_factory=set)


class Relay:
    """The passages of one session with the server ``name``; ``reply`` sends an answer to it, and
    ``others`` are those that a message may belong to beside."""

    def __init__(
        self, name: str, reply: Callable[[Response | Failure], None], others: PossibleOwners
    ) -> None:
        self._log = ServerLog(log, name)
        self._reply = reply
        self.declared: frozenset[str] = frozenset()  # extensions, by the server
        self._passages: dict[RequestId, _Passage] = {}
        self._others = others
        self._warned = False

    async def carry(self, exchange: Exchange, id_: int, reply: Awaitable[bytes]) -> bytes:
        """Wait for the reply to our request with this id, on behalf of a client.

        Raises what ``reply`` raises. What the server asks meanwhile is answered within; what is
        still open when the reply comes is given up.
        """
        passage = self._passages[id_] = _Passage(exchange)
        answered = False
        try:
            result = await reply
            answered = True
        except RpcError:
            answered = True
            raise
        finally:
            del self._passages[id_]
            if not answered:
                self._others.gave_up(id_, exchange.tenant, _now())
            elif self._others.lag_secs:
                self._others.answered(exchange.tenant, _now())
            if passage.asked:
                await self._withdraw_all(passage)
        return result

    def answered_late(self, id_: RequestId) -> None:
        """A request was answered that nobody waited for any more."""
        if isinstance(id_, int):
            self._others.answered_late(id_)

    def notified(self, note: Notification, within: RequestId | None) -> bool:
        """Pass a notification on to the client that it concerns; False for one of another kind.

        ``within``: the request on whose stream it came, where the transport has such streams.
        """
        match note.method:
            case mcp.PROGRESS:
                self._progress(_read(note.params), within)
            case mcp.LOG_MESSAGE:
                if owner := self._owner(within):
                    owner.exchange.notify(note.method, _read(note.params))
            case mcp.ELICITATION_COMPLETE:
                params = _read(note.params)
                elicitation = str(params.get("elicitationId"))
                for passage in self._passages.values():
                    if elicitation in passage.elicitations:
                        passage.exchange.notify(note.method, params)
            case mcp.CANCELLED:
                self._withdrawn(_read(note.params).get("requestId"), within)
            case _:
                return self._foreign(note, within)
        return True

    def _foreign(self, note: Notification, within: RequestId | None) -> bool:
        """Pass on what belongs to an extension that the server and a client know, and we do not."""
        if not any(may_own(one, note.method) for one in self.declared):
            return False
        owner = self._owner(within)
        agreed = owner.exchange.negotiated.unread & self.declared if owner else frozenset()
        if owner and any(may_own(one, note.method) for one in agreed):
            owner.exchange.notify(note.method, _read(note.params))
            return True
        return False

    def asked(self, request: Request, within: RequestId | None) -> None:
        """Pass a request of the server on to a client, and its answer back; ``within`` as above."""
        if request.method == "ping":
            self._reply(Response(request.id, b"{}"))
        elif request.method not in mcp.ASKABLE:
            text = f"{request.method} is not offered by this client"
            self._reply(Failure(request.id, RpcError(RpcError.METHOD_NOT_FOUND, text)))
        elif sum(len(each.asked) for each in self._passages.values()) >= MAX_ASKED:
            text = f"{MAX_ASKED} requests of this server are being answered; wait for some"
            self._reply(Failure(request.id, RpcError(mcp.TOO_MANY_REQUESTS, text)))
        elif owner := self._owner(within):
            self._pass_on(owner, request)
        else:
            text = f"{request.method} can be answered only while a client's request is running"
            if self._passages and within is None:
                text = f"{request.method} is passed on to nobody: {_SEVERAL}"
            self._reply(Failure(request.id, RpcError(RpcError.INVALID_REQUEST, text)))

    def _owner(self, within: RequestId | None) -> _Passage | None:
        """The passage that a message of the server belongs to; None where that is not certain."""
        if within is not None:
            return self._passages.get(within)
        latest = next(reversed(self._passages.values()), None)
        if latest is None:
            return None
        tenant = latest.exchange.tenant
        alone = all(each.exchange.tenant == tenant for each in self._passages.values())
        if alone and self._others.only(tenant, _now()):
            return latest
        if not self._warned:
            self._warned = True
            self._log.warning("a message of it is passed on to nobody: %s", _SEVERAL)
        return None

    def _pass_on(self, passage: _Passage, request: Request) -> None:
        if request.id in passage.asked:
            text = "a request with this id is being answered"
            self._reply(Failure(request.id, RpcError(RpcError.INVALID_REQUEST, text)))
            return
        params = _read(request.params)
        if isinstance(elicitation := params.get("elicitationId"), str):
            passage.elicitations.add(elicitation)
        # In no TaskGroup: each call would pay for one, and hardly any is asked something.
        asking = asyncio.get_running_loop().create_task(self._ask(passage, request, params))
        passage.asked[request.id] = asking

    async def _ask(self, passage: _Passage, request: Request, params: JsonObject) -> None:
        try:
            answer = await passage.exchange.question(request.method, params)
            self._reply(Response(request.id, _encode(answer)))
        except RpcError as error:
            self._reply(Failure(request.id, error))
        except Exception:  # noqa: BLE001 - logged, and no reason to leave the server waiting
            self._log.exception("%s could not be passed on", request.method)
            fault = RpcError(RpcError.INTERNAL_ERROR, "a fault of the gateway; its log has it")
            self._reply(Failure(request.id, fault))
        finally:
            passage.asked.pop(request.id, None)

    async def _withdraw_all(self, passage: _Passage) -> None:
        """Ask no more for a request that is over; the server may wait for an answer."""
        text = "the request that this belongs to is over"
        asking = list(passage.asked.items())
        for id_, task in asking:
            task.cancel()
            self._reply(Failure(id_, RpcError(RpcError.INVALID_REQUEST, text)))
        await finish(asyncio.wait([task for _, task in asking]), GRACE_SECS)

    def _progress(self, params: JsonObject, within: RequestId | None) -> None:
        ours = params.get(mcp.META_PROGRESS_TOKEN)
        passage = self._passages.get(ours) if type(ours) is int and within in (None, ours) else None
        theirs = passage.exchange.meta.get(mcp.META_PROGRESS_TOKEN) if passage else None
        if passage and theirs is not None:
            passage.exchange.notify(mcp.PROGRESS, params | {mcp.META_PROGRESS_TOKEN: theirs})

    def _withdrawn(self, request_id: Json, within: RequestId | None) -> None:
        """The server wants no answer any more."""
        if not isinstance(request_id, int | str):
            return
        for id_, passage in self._passages.items():
            if within in (None, id_) and (task := passage.asked.get(request_id)):
                task.cancel()


def request_meta(own: Mapping[str, Json], exchange: Exchange, token: int) -> JsonObject:
    """The ``_meta`` of a request to the server.

    What the client sent goes through, but for what concerns its own hop: ``own`` is what our
    session says of itself (nothing in the handshake era), the progress token is ours.
    """
    if not (own or exchange.meta):
        return {}
    meta = {key: value for key, value in exchange.meta.items() if key not in _OF_ONE_HOP}
    if mcp.META_PROGRESS_TOKEN in exchange.meta:
        meta[mcp.META_PROGRESS_TOKEN] = token
    if own:
        meta |= own
        asked: JsonObject = {
            name: exchange.capabilities[name]
            for name in mcp.ASKABLE.values()
            if name in exchange.capabilities
        }
        meta[mcp.META_CLIENT_CAPABILITIES] = {
            **asked,
            mcp.EXTENSIONS: {**SPOKEN, **exchange.negotiated.told},
        }
        if exchange.log_level:
            meta[mcp.META_LOG_LEVEL] = exchange.log_level
    return meta


async def answers(exchange: Exchange, wanted: Mapping[str, Json]) -> JsonObject:
    """Ask the client for all inputs that a server wants at once; where one is refused, the others
    are not wanted any more.

    Raises RpcError where it cannot be asked (MCP 2026-07-28, basic/patterns/mrtr).
    """
    questions = {key: _question(request) for key, request in wanted.items()}
    refused: BaseException | None = None
    try:
        async with asyncio.TaskGroup() as tasks:
            asked = {
                key: tasks.create_task(_ask_client(exchange, method, params))
                for key, (method, params) in questions.items()
            }
    except* RpcError as faults:
        refused = faults.exceptions[0]
    if refused:
        raise refused
    return {key: task.result() for key, task in asked.items()}


async def _ask_client(exchange: Exchange, method: str, params: JsonObject) -> JsonObject:
    return await exchange.question(method, params)


def _question(request: Json) -> tuple[str, JsonObject]:
    """What is asked, and how. Raises RpcError for what no client can be asked."""
    method = request.get("method") if isinstance(request, dict) else None
    if not isinstance(request, dict) or method not in mcp.ASKABLE:
        raise RpcError(RpcError.INVALID_PARAMS, f"the server wants an unknown input: {method}")
    params = request.get("params")
    return str(method), params if isinstance(params, dict) else {}


def _read(params: bytes) -> JsonObject:
    with contextlib.suppress(*UNREADABLE):
        return _object.decode(params)
    return {}


def _now() -> float:
    return asyncio.get_running_loop().time()
