"""What one client has asked and not been answered yet, over whatever transport it came, and what
transports read of a message's parameters.

Each request runs in a block that can be stopped, in the task of its HTTP connection or in one of
its own. It lasts longer than the connection where the transport lets a client come back for the
reply.
"""

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial

import msgspec

from mcproxy import mcp
from mcproxy.cancellation import Stoppable
from mcproxy.errors import McproxyError, RpcError
from mcproxy.exchange import ClientSession, Exchange, Tenant
from mcproxy.frontends.asking import Asking
from mcproxy.frontends.stream import Stream
from mcproxy.gateway.core import Gateway
from mcproxy.gateway.request import RequestSource, client_name
from mcproxy.queues import Budget, Gate
from mcproxy.types import Json, JsonObject
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

_encode = msgspec.json.Encoder().encode

log = logging.getLogger(__name__)

GiveBack = Callable[[], None]

Run = Callable[[Coroutine[None, None, None]], asyncio.Task[None]]
"""Makes a task of the answering of a request."""

Notices = Callable[[], Stream]
"""Where to say what comes before the reply; asked for each time."""

Work = Callable[[], Awaitable[Response | Failure | None]]
Stay = Callable[[Request, ClientSession | None], Awaitable[None]]


class Withdrawn(McproxyError):
    """The client wants no reply any more."""


class ReplyTo(msgspec.Struct, frozen=True):
    """Where a request's answer goes: what is said on the way, and the reply (None: withdrawn)."""

    notices: Stream
    reply: Callable[[Response | Failure | None], None]


class Account(msgspec.Struct, frozen=True):
    """What a client's requests take, and of whose share: ``requests`` counts them, ``body_bytes``
    what they carry."""

    requests: Budget
    body_bytes: Budget
    owner: str

    @classmethod
    def of_the_only_client(cls) -> "Account":
        """Without bounds: nobody else is there to be kept out."""
        return cls(Budget(sys.maxsize), Budget(sys.maxsize), "")

    def take(self, messages: Sequence[Message | RpcError], at_once: int = 1) -> GiveBack | None:
        """Count messages of which so many are answered at once; what uncounts them, None where
        there is no room for them."""
        size = 0
        for one in messages:
            size += len(one.params) if isinstance(one, Request) else 0
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
    """One client's requests under way. ``run`` makes a task of each, and owns it.

    ``home`` carries what belongs to no request; without it, that is lost. ``session`` is that of
    ``session_on`` this home; without one the requests belong to none.
    """

    def __init__(
        self,
        gateway: Gateway,
        gate: Gate,
        run: Run,
        account: Account,
        home: Stream | None = None,
        session: ClientSession | None = None,
    ) -> None:
        self._account = account
        self._gateway = gateway
        self._gate = gate
        self._run = run
        self.home = home or Stream()
        self._session = session
        self._asking = Asking()
        self._capabilities: JsonObject = {}
        self._client = ""
        # By block, since some clients repeat ids.
        self._running: dict[Stoppable, RequestId] = {}

    @property
    def idle(self) -> bool:
        """Whether no request is being answered."""
        return not self._running

    def answer(
        self, request: Request, source: RequestSource, notices: Notices, block: Stoppable
    ) -> Awaitable[Response | Failure | None]:
        """The reply to a request, which is worked out in this block by whoever awaits it, at once;
        None where it is withdrawn. Raises what others stop the block with."""
        end = self._begin(request, block)
        respond = partial(self._gateway.respond, request, source, self._exchange(notices))
        return _answered(request, block, respond, end) if end else _refused(request)

    def start(self, request: Request, source: RequestSource, way: ReplyTo) -> None:
        """Answer a request in a task of its own."""
        if request.method == "initialize":
            self.meet(request)
        exchange = self._exchange(lambda: way.notices)
        self._start(request, way, partial(self._gateway.respond, request, source, exchange))

    def keep(self, request: Request, stay: Stay, way: ReplyTo) -> None:
        """Begin what lasts until the client cancels the request, or goes, and has no reply but for
        an RpcError that it raises; the program does not wait for it to end."""

        async def work() -> Failure | None:
            try:
                await stay(request, self._session)
            except RpcError as error:
                return Failure(request.id, error)
            return None

        if not self._gate.closed:
            self._start(request, way, work, drained=False)

    def meet(self, initialize: Request) -> None:
        """Keep who the client is, and what it can be asked for."""
        said = glance(initialize.params)
        self._capabilities = said.capabilities if isinstance(said.capabilities, dict) else {}
        self._client = client_name(said.clientInfo)

    def receive(self, message: Notification | Response | Failure) -> None:
        """Take what needs no answer."""
        if not isinstance(message, Notification):
            self._asking.answered(message)
        elif message.method == mcp.CANCELLED:
            cancelled = glance(message.params).requestId
            for block, id_ in self._running.items():
                if id_ == cancelled:
                    block.stop(Withdrawn())

    def announce(self, method: str) -> None:
        """Tell the client that something changed."""
        self.home.put(encode(Notification(method)))

    def cancel_all(self) -> None:
        """Stop everything; the client is gone, and with it what it subscribed to."""
        if self._session:
            self._session.tenant.ended.set()
        self._session = None
        why = TimeoutError if self._gate.closed else Withdrawn
        for block in self._running:
            block.stop(why())

    def _begin(
        self, request: Request, block: Stoppable, *, drained: bool = True
    ) -> GiveBack | None:
        """Count a request until what this gives is called; None where there are too many.
        ``drained``: the program waits for its end."""
        give_back = self._account.take([request]) if len(self._running) < MAX_RUNNING else None
        if give_back is None:
            return None
        self._running[block] = request.id
        if drained:
            self._gate.begin(block)

        def end() -> None:
            if self._running.pop(block, None) is not None:
                self._gate.end(block)
                give_back()

        return end

    def _start(self, request: Request, way: ReplyTo, work: Work, *, drained: bool = True) -> None:
        block = Stoppable()
        end = self._begin(request, block, drained=drained)
        if end is None:
            way.reply(Failure(request.id, too_many()))
            return

        async def answered() -> None:
            way.reply(await _answered(request, block, work, end))

        task = self._run(answered())
        task.add_done_callback(lambda _: end())  # one that is cancelled before it began

    def _exchange(self, notices: Notices) -> Exchange:
        def send(message: Message) -> None:
            notices().put(encode(message))

        async def ask(method: str, params: JsonObject) -> JsonObject:
            return await self._asking.ask(method, params, self._capabilities, send)

        return Exchange(
            _notify(notices),
            ask,
            session=self._session,
            capabilities=self._capabilities,
            client=self._client,
        )


async def _answered(
    request: Request, block: Stoppable, work: Work, end: GiveBack
) -> Response | Failure | None:
    try:
        with block:
            try:
                return await work()
            except Exception:
                log.exception("%s failed", request.method)
                text = "internal error; the log has the details"
                return Failure(request.id, RpcError(RpcError.INTERNAL_ERROR, text))
    except Withdrawn:
        return None
    except TimeoutError:  # of the gate
        return Failure(request.id, stopped())
    finally:
        end()


async def _refused(request: Request) -> Failure:
    return Failure(request.id, too_many())


def session_on(home: Stream, id_: str = "", *, moved: bool = False) -> ClientSession:
    """The session of a client that is told on ``home`` what belongs to no request."""
    return ClientSession(_notify(lambda: home), Tenant(moved=moved), id_)


def _notify(notices: Notices) -> Callable[[str, JsonObject], None]:
    def notify(method: str, params: JsonObject) -> None:
        stream = notices()
        if stream.crowded and not stream.returns:  # a server that talks must not cost it replies
            log.info("a client reads too slowly: %s is dropped", method)
            return
        stream.put(encode(Notification(method, _encode(params))))

    return notify


def stopped() -> RpcError:
    """The answer to a request that outlasts the gateway."""
    text = "the gateway was stopped before there was an answer; whether servers did it is not known"
    return RpcError(RpcError.INTERNAL_ERROR, text)


def too_many() -> RpcError:
    """The refusal of a request whose client has MAX_RUNNING under way, or as much as it may."""
    text = (
        f"as many of your requests are being answered as may be (of one client {MAX_RUNNING}); "
        f"send this one when some have ended: try again in {RETRY_SECS} s"
    )
    return RpcError(mcp.TOO_MANY_REQUESTS, text, retry_after=RETRY_SECS)


class Params(msgspec.Struct, frozen=True):
    """The members of a message's ``params`` that concern a transport, of any type."""

    name: Json = None
    uri: Json = None
    taskId: Json = None
    requestId: Json = None
    protocolVersion: Json = None
    capabilities: Json = None
    clientInfo: Json = None
    notifications: Json = None
    meta_member: Json = msgspec.field(default=None, name="_meta")

    @property
    def meta(self) -> JsonObject:
        """``_meta``, empty where it is missing or odd."""
        return self.meta_member if isinstance(self.meta_member, dict) else {}

    @property
    def progress_token(self) -> int | str | None:
        """The token with which the client wants to hear of progress."""
        token = self.meta.get(mcp.META_PROGRESS_TOKEN)
        return token if isinstance(token, int | str) else None


class _Arguments(msgspec.Struct):
    arguments: Json = None


_decoder = msgspec.json.Decoder(Params)
_arguments = msgspec.json.Decoder(_Arguments)
_NOTHING = Params()


def glance(params: bytes) -> Params:
    """Look at a message's parameters. Refuses nothing: what is odd says nothing, and the gateway
    tells what is wrong."""
    try:
        return _decoder.decode(params)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return _NOTHING


def arguments_in(params: bytes) -> Json:
    """The arguments of a tool call, which cost more to read than all the rest."""
    try:
        return _arguments.decode(params).arguments
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
