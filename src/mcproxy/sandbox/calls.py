"""The calls of one execution: a call frame in, ``CallTool``, a reply frame out, and a record.

One of the two places where exceptions become words on the wire: a ``CallError`` is sent to the
script, which sees it as ``ToolError`` and can catch it. Limits are enforced here, in the gateway.
"""

import asyncio
import time
from contextlib import suppress

import msgspec

from mcproxy.errors import CallError, CallLimit, TooLarge
from mcproxy.foreign_text import label
from mcproxy.sandbox import frames
from mcproxy.types import CallRecord, CallTool, Json, JsonObject, Limits, ToolRef, ToolResult
from mcproxy.wire.message import UNREADABLE
from mcproxy.wire.outbox import UnreadLimits

_MAX_NAME_CHARS = 200  # of a name in a record, which a script has chosen
_MAX_REFUSALS = 4096  # under way at once; a script that starts more calls before it reads is none


def unread(limits: Limits) -> UnreadLimits:
    """What may wait for a worker to read it: of bytes as many as it may hold, of messages all that
    its calls can make."""
    return UnreadLimits(2 * limits.max_calls + _MAX_REFUSALS + 2, limits.memory_mb << 20)


class ScriptCalls:
    """Answers the calls of one script, concurrently; ``records`` are those that have ended."""

    def __init__(self, writer: frames.Writer, limits: Limits, call: CallTool) -> None:
        self._writer, self._limits, self._call = writer, limits, call
        self._taken = {True: 0, False: 0}  # calls of tools, and of the gateway's own services
        self._tasks: list[asyncio.Task[None]] = []
        self._refusals: set[asyncio.Task[None]] = set()
        self.records: list[CallRecord] = []

    async def take(self, frame: frames.CallFrame, group: asyncio.TaskGroup) -> None:
        """Start answering a call. Once very many are being refused, the next frame is not read
        until one more is: a flood costs the worker's time, not the gateway's memory. Raises
        ``BadFrame``."""
        ref = ToolRef(frame.server, frame.tool)
        kind = bool(ref.server)
        if self._taken[kind] >= self._limits.max_calls:
            refusal = self._refuse(frame, CallLimit(ref, self._limits.max_calls))
            if len(self._refusals) < _MAX_REFUSALS:
                task = group.create_task(refusal)
                self._refusals.add(task)
                task.add_done_callback(self._refusals.discard)
            else:
                await refusal
            return
        self._taken[kind] += 1
        args = frames.value(frame.args)
        if not isinstance(args, dict):
            raise frames.BadFrame("arguments that are no object")
        self._tasks.append(group.create_task(self._answer(frame, ref, args)))

    def cancel(self) -> None:
        """Give up what is still under way."""
        for task in (*self._tasks, *self._refusals):
            task.cancel()

    async def _answer(self, frame: frames.CallFrame, ref: ToolRef, args: JsonObject) -> None:
        started = time.monotonic()
        known, ok = False, False
        try:
            result = await self._result(frame, ref, args)
            known, ref = result.ref is not None, result.ref or ref
            ok = not result.is_error
            await self._reply(frame, ref, result)
        except CallError as error:
            ref, known, ok = error.ref, False, False
            await self._refuse(frame, error)
        finally:
            if ref.server:
                ms = (time.monotonic() - started) * 1000
                shown = ref if known else _shown(ref)
                self.records.append(CallRecord(shown.server, shown.tool, round(ms, 3), ok))

    async def _result(self, frame: frames.CallFrame, ref: ToolRef, args: JsonObject) -> ToolResult:
        size, limit = len(bytes(frame.args)), self._limits.argument_bytes
        if size > limit:
            raise TooLarge(ref, "arguments", size, limit)
        result = await self._call(ref, args)
        size, limit = len(result.raw), self._limits.value_bytes
        if size > limit:
            raise TooLarge(ref, "value", size, limit)
        return result

    async def _reply(self, frame: frames.CallFrame, ref: ToolRef, result: ToolResult) -> None:
        if result.is_error:
            words: JsonObject = {"code": "tool_error", "message": _words(ref, result.raw)}
            words |= {"server": ref.server, "tool": ref.tool}
            await self._send(frames.refusal(frame.id, words))
        else:
            await self._send(frames.reply(frame.id, result.raw, result.wrapping))

    async def _refuse(self, frame: frames.CallFrame, error: CallError) -> None:
        facts: JsonObject = {
            "code": error.code,
            "message": error.message,
            "server": error.ref.server,
            "tool": error.ref.tool,
            "retryable": error.retryable,
            "retry_after": error.retry_after,
        }
        await self._send(frames.refusal(frame.id, facts))

    async def _send(self, body: bytes) -> None:
        with suppress(frames.WorkerGone):  # whoever reads the frames finds out too
            await self._writer.send(body)


def _shown(ref: ToolRef) -> ToolRef:
    """Names that a script has chosen, to be read; those of a tool that is listed can be seen."""
    return ToolRef(label(ref.server, _MAX_NAME_CHARS), label(ref.tool, _MAX_NAME_CHARS))


def _words(ref: ToolRef, raw: bytes) -> str:
    """What the tool itself said: the text of its blocks."""
    try:
        result: Json = msgspec.json.decode(raw)
    except UNREADABLE:
        return raw.decode(errors="replace")
    content = result.get("content") if isinstance(result, dict) else None
    blocks = content if isinstance(content, list) else []
    texts = [str(block["text"]) for block in blocks if isinstance(block, dict) and "text" in block]
    return "\n".join(texts) or f"{ref.server}.{ref.tool} reported an error without words."
