"""Requests that need the client's input before they can be answered, towards stateless clients.

A stateless client cannot be asked: it gets an ``input_required`` result and sends its request again
with the answers (MCP 2026-07-28, basic/patterns/mrtr). Two things stand behind such a result here:
a server that wants it so, whose ``requestState`` is sealed on the way; or a call that goes on
running in the gateway and waits (a server of the handshake era asked, or a script's call did). The
latter is kept in a bounded table, for a bounded time, and is resumed once, by its owner only.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import msgspec
from msgspec.structs import replace

from mcproxy.errors import RpcError
from mcproxy.exchange import Exchange
from mcproxy.gateway.request import Call
from mcproxy.gateway.signed_state import ALONE, SignedState, Signing
from mcproxy.gateway.suspended_call import SuspendedCall, can_be_asked
from mcproxy.types import Json, JsonObject

LIFETIME_SECS = 600.0  # a person may have to fill in a form meanwhile
MAX_WAITING = 256  # calls; each holds one of a server, or a worker
RETRY_SECS = 10  # they wait for people
KEEP_SECS = 5.0  # most calls take less; clients wait 10 s and more

_KEPT, _SERVERS = "kept", "server's"  # what a sealed state stands for

_encode = msgspec.json.Encoder(order="sorted").encode
_object = msgspec.json.Decoder(dict[str, Json])

Work = Callable[[Exchange], Awaitable[bytes]]
Keep = Callable[[SuspendedCall], Awaitable[bytes | None]]
"""Keeps a call that takes long, whoever waits; the answer that tells so, None where there is no
room."""


class InputRounds:
    """Answers requests in as many rounds as they take. Usable while ``running``."""

    def __init__(
        self,
        lifetime_secs: float = LIFETIME_SECS,
        keep_secs: float = KEEP_SECS,
        signing: Signing = ALONE,
    ) -> None:
        self._lifetime_secs, self._keep_secs = lifetime_secs, keep_secs
        self._seal = SignedState(lifetime_secs, secret=signing.secret)
        self._here = signing.here
        self._tasks = asyncio.TaskGroup()
        self._under_way: set[asyncio.Task[None]] = set()
        self._waiting: dict[str, SuspendedCall] = {}

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Own the calls that go on between two rounds; on leaving, cancel them. Who waits for one
        is told so."""
        async with self._tasks:
            try:
                yield
            finally:
                for paused in list(self._waiting.values()):
                    self._lose(paused)
                for task in self._under_way:
                    task.cancel()

    def begin(self, exchange: Exchange, work: Work) -> SuspendedCall:
        """Begin a call that nobody waits for yet."""
        begun = SuspendedCall(exchange)
        task = begun.start(self._tasks, work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return begun

    async def answer(
        self,
        call: Call,
        purpose: tuple[str, ...],
        exchange: Exchange,
        work: Work,
        *,
        keep: Keep | None = None,
    ) -> bytes:
        """Answer a request, or the next round of one; ``purpose``: who asks, where, for what.
        ``keep`` answers in place of one that takes long, where there is a way to get its result
        later.

        Raises RpcError for a state that is not this purpose's, and what ``work`` raises.
        """
        sealed_for = _sealed_for(call, purpose)
        kind, text = self._open(sealed_for, call.params.get("requestState"))
        responses = call.params.get("inputResponses")
        given = responses if isinstance(responses, dict) else {}
        if kind == _KEPT:
            return await self._resume(text.rpartition("/")[2], exchange, given, sealed_for, keep)
        retry: JsonObject = {"inputResponses": given} if given else {}
        if kind == _SERVERS:
            retry["requestState"] = text
        if keep is None:  # else what a server wants to know is asked as of any call that goes on
            exchange = replace(exchange, retry=retry)
        if keep is None and not can_be_asked(exchange):
            return self._sealed(await work(exchange), sealed_for)
        return await self._next(self.begin(exchange, work), sealed_for, keep)

    def holder(self, call: Call, purpose: tuple[str, ...]) -> str | None:
        """The other gateway in which the call waits that this is the next round of, if it is one of
        such a call."""
        state = call.params.get("requestState")
        if not isinstance(state, str):
            return None
        kind, text = self._seal.open(_sealed_for(call, purpose), state) or ("", "")
        gateway = text.rpartition("/")[0]
        return gateway if kind == _KEPT and gateway != self._here else None

    async def _resume(
        self,
        key: str,
        exchange: Exchange,
        given: Mapping[str, Json],
        sealed_for: str,
        keep: Keep | None,
    ) -> bytes:
        paused = self._waiting.pop(key, None)
        if paused is None:
            raise self._invalid_state()
        paused.resume(exchange, given)
        return await self._next(paused, sealed_for, keep)

    async def _next(self, paused: SuspendedCall, sealed_for: str, keep: Keep | None) -> bytes:
        """The result, or what is to be asked first, or what says where the result will be."""
        try:
            wanted = await paused.turn(self._keep_secs if keep else None)
        except TimeoutError:
            kept = await self._kept(paused, keep)
            return kept or await self._next(paused, sealed_for, None)
        except asyncio.CancelledError:
            paused.cancel()
            raise
        if wanted is None:
            return self._sealed(paused.result(), sealed_for)
        if len(self._waiting) >= MAX_WAITING:
            self._lose(paused)
            text = (
                f"{MAX_WAITING} calls wait for their clients' input already; try again in "
                f"{RETRY_SECS} s"
            )
            raise RpcError(RpcError.INTERNAL_ERROR, text, retry_after=RETRY_SECS)
        key = paused.pause(self._lifetime_secs, lambda: self._lose(paused))
        self._waiting[key] = paused
        state = self._seal.close(sealed_for, _KEPT, f"{self._here}/{key}")
        return _encode(
            {"resultType": "input_required", "inputRequests": wanted, "requestState": state}
        )

    async def _kept(self, paused: SuspendedCall, keep: Keep | None) -> bytes | None:
        try:
            return await keep(paused) if keep else None
        except asyncio.CancelledError:
            paused.cancel()
            raise

    def _lose(self, paused: SuspendedCall) -> None:
        """Give up a call whose client did not come back."""
        self._waiting.pop(paused.key, None)
        paused.cancel()

    def _open(self, sealed_for: str, state: Json) -> tuple[str, str]:
        if state is None:
            return "", ""
        opened = self._seal.open(sealed_for, str(state))
        if opened is None:
            raise self._invalid_state()
        return opened

    def _sealed(self, raw: bytes, sealed_for: str) -> bytes:
        """A result as it is, but for the state of a server that wants input: sealed."""
        if b"input_required" not in raw:  # spares large results a second reading
            return raw
        result = _object.decode(raw)
        state = result.get("requestState")
        if result.get("resultType") != "input_required" or not isinstance(state, str):
            return raw
        return _encode({**result, "requestState": self._seal.close(sealed_for, _SERVERS, state)})

    def _invalid_state(self) -> RpcError:
        return RpcError(
            RpcError.INVALID_PARAMS,
            "this requestState is not valid for this request: it was used already, is older than "
            f"{self._lifetime_secs:g} s, or belongs to another request or caller. Send the request "
            "anew, without requestState and inputResponses.",
        )


def _sealed_for(call: Call, purpose: tuple[str, ...]) -> str:
    return "\0".join((*purpose, _digest(call.params.get("arguments"))))


def _digest(arguments: Json) -> str:
    return hashlib.sha256(_encode(arguments)).hexdigest()
