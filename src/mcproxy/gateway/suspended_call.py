"""One call of a stateless client that runs on in the gateway while its client is asked."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from itertools import count

from msgspec.structs import replace

from mcproxy import mcp
from mcproxy.errors import RpcError
from mcproxy.exchange import Exchange, not_declared
from mcproxy.types import Json, JsonObject

_ENDED = "the gateway ended this call before it had a result; whether its servers ran is not known"


def can_be_asked(exchange: Exchange) -> bool:
    """Whether the client says that it takes any request of a server."""
    return any(name in exchange.capabilities for name in mcp.ASKABLE.values())


@dataclass(frozen=True, slots=True)
class _Input:
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
        self._expiry: asyncio.TimerHandle | None = None
        self._outcome: bytes | Exception | None = None

    @property
    def ended(self) -> bool:
        """Whether the call has its result."""
        return self._outcome is not None

    def start(
        self, tasks: asyncio.TaskGroup, work: Callable[[Exchange], Awaitable[bytes]]
    ) -> asyncio.Task[None]:
        """Begin the call; the task that it is."""
        exchange = replace(self._exchange, notify=self._notify, ask=self._ask)
        self._task = tasks.create_task(self._run(work, exchange))
        self._task.add_done_callback(self._end)
        return self._task

    async def turn(self) -> JsonObject | None:
        """Wait until the call ended (None) or wants input; then what it wants, by key."""
        while not self.ended and not self._inputs:  # a server may take its question back
            self._turned.clear()
            await self._turned.wait()
        if self.ended:
            return None
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
        for key, wanted in list(self._inputs.items()):
            response = responses.get(key)
            if isinstance(response, dict):
                del self._inputs[key]
                if not wanted.answer.done():  # the server took its question back
                    wanted.answer.set_result(response)

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

    def _notify(self, method: str, params: JsonObject) -> None:
        if self._open is None:
            return
        if method == mcp.PROGRESS:
            token = self._open.meta.get(mcp.META_PROGRESS_TOKEN)
            if token is None:
                return
            params = {**params, mcp.META_PROGRESS_TOKEN: token}
        self._open.notify(method, params)
