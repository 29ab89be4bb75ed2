"""One call that runs on in the gateway while no request of its client waits for it: a stateless
client is asked, or has the call as a task."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from itertools import count

import msgspec
from msgspec.structs import replace

from mcproxy import mcp
from mcproxy.errors import RpcError
from mcproxy.exchange import Exchange, Lasting, RunningScript, not_declared
from mcproxy.types import Json, JsonObject

OnScript = Callable[[RunningScript], Awaitable[None]]

_ENDED = "the gateway ended this call before it had a result; whether its servers ran is not known"


def can_be_asked(exchange: Exchange) -> bool:
    """Whether the client says that it takes any request of a server."""
    return any(name in exchange.capabilities for name in mcp.ASKABLE.values())


class _Input(msgspec.Struct, frozen=True):
    method: str
    params: JsonObject
    answer: asyncio.Future[JsonObject]


class SuspendedCall:
    """A call, and the inputs that it waits for. ``exchange`` is that of the request that began it;
    notifications go out with the request that waits at the moment, and are lost between two."""

    def __init__(self, exchange: Exchange) -> None:
        self.key = ""
        self._exchange = exchange
        self._open: Exchange | None = exchange
        self._keys = (f"input-{number}" for number in count(1))
        self._inputs: dict[str, _Input] = {}
        self._turned = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._slow = False
        self._script: RunningScript | None = None
        self._on_script: OnScript | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._outcome: bytes | Exception | None = None

    @property
    def ended(self) -> bool:
        """Whether the call has its result."""
        return self._outcome is not None

    def start(
        self, tasks: asyncio.TaskGroup, work: Callable[[Exchange], Awaitable[bytes]]
    ) -> asyncio.Task[None]:
        """Begin the call; the asyncio task that it is."""
        lasting = Lasting(self._turns_slow, self._begins_script)
        exchange = replace(self._exchange, notify=self._notify, ask=self._ask, lasting=lasting)
        self._task = tasks.create_task(self._run(work, exchange))
        self._task.add_done_callback(self._end)
        return self._task

    async def turn(self, most_secs: float | None = None) -> JsonObject | None:
        """Wait until the call ended (None) or wants input; then what it wants, by key. Raises
        TimeoutError where that takes longer than ``most_secs``, or is known to take long."""
        async with asyncio.timeout(most_secs):
            while not self.ended and not self._inputs:  # a server may take its question back
                if self._slow and most_secs is not None:
                    raise TimeoutError
                self._turned.clear()
                await self._turned.wait()
        return None if self.ended else self.wanted

    @property
    def wanted(self) -> JsonObject:
        """What it wants to be asked, by key."""
        return {
            key: {"method": wanted.method, "params": wanted.params}
            for key, wanted in self._inputs.items()
        }

    def result(self) -> bytes:
        """The call's result. Raises what the call raised."""
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome or b"{}"

    def pause(self, secs: float, lost: Callable[[], None]) -> str:
        """Wait for the client, at most ``secs``; the key by which it will be known."""
        self._open = None
        self._expiry = asyncio.get_running_loop().call_later(secs, lost)
        self.key = secrets.token_urlsafe(16)
        return self.key

    def resume(self, exchange: Exchange, responses: Mapping[str, Json]) -> None:
        """Take the answers that the client brought; what it left out is asked again."""
        if self._expiry:
            self._expiry.cancel()
        self._open = exchange
        self.give(responses)

    async def detach(self, exchange: Exchange | None, on_script: OnScript) -> None:
        """Nobody waits any more: what the call tells goes to ``exchange``, where there is one, and
        ``on_script`` hears of the script that it runs."""
        self._open, self._on_script = exchange, on_script
        if self._script:
            await on_script(self._script)

    def when_ended(self, do: Callable[[bool], None]) -> None:
        """Do it once the call has ended: False where it was ended without a result."""
        if self._task:
            self._task.add_done_callback(lambda task: do(not task.cancelled()))

    def give(self, responses: Mapping[str, Json]) -> None:
        """Take answers."""
        for key, wanted in list(self._inputs.items()):
            response = responses.get(key)
            if isinstance(response, dict):
                del self._inputs[key]
                if not wanted.answer.done():  # the server took its question back
                    wanted.answer.set_result(response)

    def refuse(self, key: str, error: RpcError) -> None:
        """Take note that the client does not answer."""
        wanted = self._inputs.pop(key, None)
        if wanted and not wanted.answer.done():
            wanted.answer.set_exception(error)

    def cancel(self) -> None:
        """End the call; nobody waits for it any more."""
        if self._expiry:
            self._expiry.cancel()
        if self._task:
            self._task.cancel()

    async def _run(self, work: Callable[[Exchange], Awaitable[bytes]], exchange: Exchange) -> None:
        try:
            self._outcome = await work(exchange)
        except Exception as error:  # noqa: BLE001 - handed to whoever waits for the result
            self._outcome = error

    def _end(self, task: asyncio.Task[None]) -> None:
        """Let who waits have the outcome. A task that is cancelled may never have begun."""
        if self._outcome is None:
            self._outcome = RpcError(RpcError.INTERNAL_ERROR, _ENDED)
        self._turned.set()

    async def _ask(self, method: str, params: JsonObject) -> JsonObject:
        needed = mcp.ASKABLE.get(method, method)
        if needed not in self._exchange.capabilities:
            raise not_declared(method)
        key = next(self._keys)
        answer: asyncio.Future[JsonObject] = asyncio.get_running_loop().create_future()
        self._inputs[key] = _Input(method, params, answer)
        self._turned.set()
        try:
            return await answer
        finally:
            self._inputs.pop(key, None)

    def _turns_slow(self) -> None:
        self._slow = True
        self._turned.set()

    async def _begins_script(self, script: RunningScript) -> None:
        self._script = script
        if self._on_script:
            await self._on_script(script)

    def _notify(self, method: str, params: JsonObject) -> None:
        if self._open is None:
            return
        if method == mcp.PROGRESS:
            token = self._open.meta.get(mcp.META_PROGRESS_TOKEN)
            if token is None:
                return
            params = {**params, mcp.META_PROGRESS_TOKEN: token}
        self._open.notify(method, params)
