"""What one client has asked and not been answered yet, over whatever transport it came.

Each request runs in a task of its own, so that it can be cancelled, and lasts longer than the
connection that brought it where the transport lets a client come back for the reply.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from mcproxy.errors import RpcError
from mcproxy.exchange import ClientSession, Exchange
from mcproxy.frontends.asking import Asking
from mcproxy.frontends.budget import Budget
from mcproxy.frontends.gate import Gate
from mcproxy.frontends.glance import glance
from mcproxy.frontends.progress import wants_signs, with_signs
from mcproxy.frontends.stream import Stream
from mcproxy.gateway.core import Gateway, Where
from mcproxy.types import JsonObject
from mcproxy.wire.message import (
    Failure,
    Message,
    Notification,
    Request,
    RequestId,
    Response,
    encode,
)

MAX_RUNNING = 256  # requests of one client at a time; more than any agent has
RETRY_SECS = 1  # with so many under way, one ends every moment
TOO_MANY = -32000  # JSON-RPC 2.0, section 5.1: of the range for the server's own errors

_encode = msgspec.json.Encoder().encode

log = logging.getLogger(__name__)

GiveBack = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Way:
    """Where a request's answer goes: what is said on the way, and the reply (None: cancelled)."""

    notices: Stream
    reply: Callable[[Response | Failure | None], None]


@dataclass(frozen=True, slots=True)
class Account:
    """What a client's requests take, and of whose share: ``requests`` counts them, ``body_bytes``
    what they carry."""

    requests: Budget
    body_bytes: Budget
    owner: str

    def take(self, messages: Sequence[Message | RpcError], at_once: int = 1) -> GiveBack | None:
        """Count messages of which so many are answered at once; what uncounts them, None where
        there is no room for them."""
        size = sum(len(one.params) for one in messages if isinstance(one, Request))
        if not self.requests.take(self.owner, at_once):
            return None
        if not self.body_bytes.take(self.owner, size):
            self.requests.give(self.owner, at_once)
            return None

        def give_back() -> None:
            self.requests.give(self.owner, at_once)
            self.body_bytes.give(self.owner, size)

        return give_back


class Conversation:
    """One client's requests under way. Their tasks belong to ``tasks``.

    ``home`` carries what belongs to no request; without it, that is lost.
    """

    def __init__(
        self,
        gateway: Gateway,
        gate: Gate,
        tasks: asyncio.TaskGroup,
        account: Account,
        home: Stream | None = None,
    ) -> None:
        self._account = account
        self._gateway = gateway
        self._gate = gate
        self._tasks = tasks
        self.home = home or Stream()
        self._session = ClientSession(_notify(home)) if home else None
        self._asking = Asking()
        self._capabilities: JsonObject = {}
        self._running: dict[asyncio.Task[None], RequestId] = {}  # some clients repeat ids

    @property
    def idle(self) -> bool:
        """Whether no request is being answered."""
        return not self._running

    def start(self, request: Request, where: Where, way: Way) -> asyncio.Task[None] | None:
        """Begin to answer a request; None where there are too many (the reply says so)."""
        if request.method == "initialize":
            self.meet(request)
        room = len(self._running) < MAX_RUNNING
        give_back = self._account.take([request]) if room else None
        if give_back is None:
            way.reply(Failure(request.id, too_many()))
            return None
        task = self._tasks.create_task(self._answer(request, where, way))
        self._running[task] = request.id
        task.add_done_callback(self._running.pop)
        task.add_done_callback(lambda _: give_back())
        return task

    def meet(self, initialize: Request) -> None:
        """Keep what the client can be asked for."""
        declared = glance(initialize.params).capabilities
        self._capabilities = declared if isinstance(declared, dict) else {}

    def receive(self, message: Notification | Response | Failure) -> None:
        """Take what needs no answer."""
        if not isinstance(message, Notification):
            self._asking.answered(message)
        elif message.method == "notifications/cancelled":
            cancelled = glance(message.params).requestId
            for task, id_ in self._running.items():
                if id_ == cancelled:
                    task.cancel()

    def announce(self, method: str) -> None:
        """Tell the client that something changed."""
        self.home.put(encode(Notification(method)))

    def cancel_all(self) -> None:
        """Stop everything; the client is gone, and with it what it subscribed to."""
        if self._session:
            self._session.ended.set()
        self._session = None
        for task in self._running:
            task.cancel()

    async def _answer(self, request: Request, where: Where, way: Way) -> None:
        reply: Response | Failure | None = None
        try:
            with self._gate.enter():
                reply = await self._respond(request, where, way.notices)
        except Exception:
            log.exception("%s failed", request.method)
            error = RpcError(RpcError.INTERNAL_ERROR, "internal error; the log has the details")
            reply = Failure(request.id, error)
        finally:
            way.reply(reply)

    async def _respond(
        self, request: Request, where: Where, notices: Stream
    ) -> Response | Failure | None:
        exchange = self._exchange(notices)
        work = self._gateway.respond(request, where, exchange)
        token = wants_signs(request)
        return await (work if token is None else with_signs(work, exchange.notify, token))

    def _exchange(self, notices: Stream) -> Exchange:
        def send(message: Message) -> None:
            notices.put(encode(message))

        async def ask(method: str, params: JsonObject) -> JsonObject:
            return await self._asking.ask(method, params, self._capabilities, send)

        return Exchange(
            _notify(notices), ask, session=self._session, capabilities=self._capabilities
        )


def _notify(stream: Stream) -> Callable[[str, JsonObject], None]:
    def notify(method: str, params: JsonObject) -> None:
        stream.put(encode(Notification(method, _encode(params))))

    return notify


def too_many() -> RpcError:
    """The refusal of a request whose client has MAX_RUNNING under way, or as much as it may."""
    text = (
        f"as many of your requests are being answered as may be (of one client {MAX_RUNNING}); "
        f"send this one when some have ended: try again in {RETRY_SECS} s"
    )
    return RpcError(TOO_MANY, text, retry_after=RETRY_SECS)
