"""A call that its server made a task of, awaited: whoever called gets its result like any other.

A server of the stateless era may answer a call with a task, of its own accord (SEP-2663); one of
the handshake era makes one where it was asked to (MCP 2025-11-25, basic/utilities/tasks), which
some tools demand. Such a server is not silent while the task runs: it answers when it is asked how
the task is, so the limit of the call stands still in between. What bounds the wait is whoever
waits, a script's limit for instance. A task that nobody waits for any more is cancelled.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, nullcontext

import msgspec
from msgspec.structs import replace

from mcproxy import mcp
from mcproxy.cancellation import finish
from mcproxy.errors import PeerClosed, RpcError
from mcproxy.exchange import Exchange, drop
from mcproxy.foreign_text import one_line
from mcproxy.types import Json, JsonObject
from mcproxy.upstream.protocol.relay import MAX_ASKED, answers

LEAST_POLL_SECS, MOST_POLL_SECS = 0.1, 30.0  # a server's wish is followed within these
POLL_SECS = 1.0  # where it has none
TASK_SECS = 24 * 3600.0  # longer than any script may wait, or any client would
CANCEL_SECS = 5.0  # for a server to hear that a task is not wanted any more
_MAX_SAID = 300  # characters of a server's words
_TERMINAL = ("completed", "failed", "cancelled")

Send = Callable[[Exchange, str, JsonObject], Awaitable[bytes]]
"""Sends a request of this method on behalf of a client; its raw result."""


class _State(msgspec.Struct):
    """A task as its server tells of it; the last four members are those of the stateless era."""

    taskId: str
    status: str
    statusMessage: str | None = None
    pollInterval: float | None = None
    pollIntervalMs: float | None = None
    inputRequests: JsonObject = {}
    result: msgspec.Raw = msgspec.Raw(b"")
    error: JsonObject = {}


class _Made(msgspec.Struct):
    """The answer to a call of the handshake era that asked for a task."""

    task: _State | None = None


_state = msgspec.json.Decoder(_State)
_made = msgspec.json.Decoder(_Made)


def wants_task(definition: Mapping[str, Json], capabilities: Mapping[str, Json]) -> bool:
    """Whether a tool of a server of the handshake era is to be called as a task: it cannot be
    called otherwise."""
    match capabilities, definition:
        case {"tasks": {"requests": {"tools": {"call": dict()}}}}, {"execution": dict(execution)}:
            return execution.get("taskSupport") == "required"
    return False


class ServerTask:
    """A task of a server; ``stateless``: of one of that era."""

    def __init__(self, send: Send, exchange: Exchange, *, stateless: bool) -> None:
        self._send, self._exchange = send, replace(exchange, retry=None)
        self._stateless = stateless
        self._asked: set[str] = set()
        self._over = False

    async def outcome(self, raw: bytes) -> bytes:
        """What becomes of the task that ``raw`` tells of: the result of the call, as raw JSON; as
        it is where a server of the handshake era has given the result at once.

        Raises RpcError: the task's own, and where it was cancelled or its server is odd; PeerClosed
        when the connection ends first, and what asking the client raises.
        """
        state = _state.decode(raw) if self._stateless else _made.decode(raw).task
        if state is None:
            return raw
        if self._exchange.lasting:
            self._exchange.lasting.slow()
        try:
            async with asyncio.timeout(TASK_SECS):
                return await self._awaited(state)
        except TimeoutError as error:
            text = f"its task has not ended within {TASK_SECS:g} s"
            raise RpcError(RpcError.INTERNAL_ERROR, text) from error
        finally:
            if not self._over:
                await finish(self._cancel(state.taskId), CANCEL_SECS)

    async def _awaited(self, state: _State) -> bytes:
        while True:
            self._over = state.status in _TERMINAL
            if state.status == "cancelled":
                raise _said(state, "its server has cancelled the task")
            if state.status == "working":
                with self._patiently():
                    await asyncio.sleep(_poll_secs(state))
            elif not self._over and state.status != "input_required":
                raise _said(state, f"its task is {state.status[:_MAX_SAID]!r}, which is no status")
            elif not self._stateless:
                return await self._result(state)
            elif self._over:
                return _result_in(state)
            else:
                await self._give_input(state)
            state = _state.decode(await self._ask(mcp.GET_TASK, state))

    async def _result(self, state: _State) -> bytes:
        """The result, from a server that asks on this request what it wants to know before."""
        with self._patiently():  # it has said that it works
            result = await self._ask(mcp.TASK_RESULT, state)
        self._over = True
        return result

    async def _give_input(self, state: _State) -> None:
        """Have the client asked for what is new, and wait for more."""
        new = {key: one for key, one in state.inputRequests.items() if key not in self._asked}
        self._asked |= new.keys()
        if len(self._asked) > MAX_ASKED:
            text = f"its task wants over {MAX_ASKED} inputs"
            raise RpcError(RpcError.INTERNAL_ERROR, text)
        if not new:
            with self._patiently():
                await asyncio.sleep(_poll_secs(state))
            return
        given: JsonObject = {"inputResponses": await answers(self._exchange, new)}
        await self._ask(mcp.UPDATE_TASK, state, given)

    async def _ask(self, method: str, state: _State, more: JsonObject | None = None) -> bytes:
        return await self._send(self._exchange, method, {"taskId": state.taskId, **(more or {})})

    async def _cancel(self, task: str) -> None:
        exchange = replace(self._exchange, meta={}, notify=drop)
        try:
            await self._send(exchange, mcp.CANCEL_TASK, {"taskId": task})
        except (RpcError, PeerClosed):
            return  # it has ended meanwhile, or cannot be cancelled

    def _patiently(self) -> AbstractContextManager[None]:
        clock = self._exchange.clock
        return clock.stopped() if clock else nullcontext()


def _result_in(state: _State) -> bytes:
    """The result in an ended task of the stateless era. Raises RpcError: the task's own."""
    if state.status == "completed" and bytes(state.result):
        return bytes(state.result)
    code, message = state.error.get("code"), state.error.get("message")
    if state.status == "failed" and isinstance(code, int) and isinstance(message, str):
        raise RpcError(code, message, state.error.get("data"))
    raise _said(state, f"its task is {state.status}, without a result")


def _said(state: _State, text: str) -> RpcError:
    said = one_line(state.statusMessage or "", _MAX_SAID)
    return RpcError(RpcError.INTERNAL_ERROR, f"{text}: {said}" if said else text)


def _poll_secs(state: _State) -> float:
    ms = state.pollIntervalMs if state.pollIntervalMs is not None else state.pollInterval
    secs = POLL_SECS if ms is None else ms / 1000
    return min(max(secs, LEAST_POLL_SECS), MOST_POLL_SECS)
