"""Host side of one execution: the worker's frames in, tool calls out, the outcome back.

Serves a worker that is already connected. It knows nothing of how the worker was made, what walls
stand around it, or how it is killed: the caller does that afterwards, whatever the outcome says.
Nothing that arrives is trusted; a forged frame is worth no more than a call.

One of the two places where exceptions become words on the wire: a ``CallError`` is sent to the
script, which sees it as ``ToolError`` and can catch it. Limits are enforced here, in the gateway.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import msgspec
from msgspec.structs import replace

from mcproxy.call_errors import CallError, CallLimit, TooLarge
from mcproxy.foreign_text import label
from mcproxy.sandbox import frames
from mcproxy.sandbox.jail.script.preview import MAX_PREVIEW_BYTES
from mcproxy.script_api import LARGE_ANSWERS
from mcproxy.types import (
    CallOutcome,
    CallRecord,
    CallTool,
    Job,
    Json,
    JsonObject,
    Limits,
    Outcome,
    ScriptError,
    ToolRef,
    ToolResult,
)
from mcproxy.wire.message import UNREADABLE
from mcproxy.wire.peer import UnreadLimits

_MAX_NAME_CHARS = 200  # of a name in a record, which a script has chosen
_MAX_ARGUMENT_CHARS = 200  # of a call that did not succeed, in its record
_MAX_REFUSALS = 4096  # under way at once; a script that starts more calls before it reads is none
# What a script that failed has under way is done all the same: to know that is worth some time.
ANSWERS_SECS = 2.0
_MAX_NOTES = 50  # lists and texts that a worker sends beside its value are cut to these
_MAX_CHARS = 16_000
_ENVELOPE_BYTES = 256  # around a value of the gateway's own, which is bounded by itself
_TIMEOUT_HINT = (
    "Do less, let calls overlap (asyncio.gather), or pass a larger timeout_secs "
    "(at most sandbox.timeout_secs of the namespace)."
)

_READING = ToolRef("", "check")
Explain = Callable[[], Awaitable[ScriptError]]
_Ending = frames.Result | frames.Error | frames.WorkerGone | frames.BadFrame | ScriptError


def unread(limits: Limits) -> UnreadLimits:
    """What may wait for a worker to read it: of bytes as many as it may hold, of messages all that
    its calls can make."""
    return UnreadLimits(2 * limits.max_calls + _MAX_REFUSALS + 2, limits.memory_mb << 20)


class ScriptCalls:
    """Answers the calls of one script, concurrently; ``records`` are those that have ended."""

    def __init__(
        self, reader: frames.FrameReader, writer: frames.Writer, limits: Limits, call: CallTool
    ) -> None:
        self._reader, self._writer, self._limits, self._call = reader, writer, limits, call
        # One large value at a time each way, or a script could make the gateway hold 200 of them.
        self._one_in, self._one_out = asyncio.Lock(), asyncio.Lock()
        self._taken = {True: 0, False: 0}  # calls of tools, and of the gateway's own services
        self._tasks: list[asyncio.Task[None]] = []
        self._was_read = False
        self._refusals: set[asyncio.Task[None]] = set()
        self.records: list[CallRecord] = []

    async def take(self, frame: frames.CallFrame, group: asyncio.TaskGroup) -> None:
        """Start answering a call. Raises ``BadFrame``."""
        ref = ToolRef(frame.server, frame.tool)
        kind = bool(ref.server)
        text = await self._text(frame) if frame.text else None
        if ref == _READING and not self._was_read:
            self._was_read = True  # the one of a script's calls that it has not made itself
        elif self._taken[kind] >= self._limits.max_calls:
            await self._one_too_many(frame, ref, group)
            return
        else:
            self._taken[kind] += 1
        args = frames.value(frame.args)
        if not isinstance(args, dict):
            raise frames.BadFrame("arguments that are no object")
        if text is not None:
            args[frame.text] = text
        alone = not kind and ref.tool in LARGE_ANSWERS
        answer = self._answer_alone if alone else self._answer
        self._tasks.append(group.create_task(answer(frame, ref, args)))

    async def _one_too_many(
        self, frame: frames.CallFrame, ref: ToolRef, group: asyncio.TaskGroup
    ) -> None:
        """Refuse a call. Once very many are being refused, the next frame is not read until one
        more is: a flood costs the worker's time, not the gateway's memory."""
        self._let_in(frame)
        refusal = self._refuse(frame, CallLimit(ref, self._limits.max_calls))
        if len(self._refusals) < _MAX_REFUSALS:
            task = group.create_task(refusal)
            self._refusals.add(task)
            task.add_done_callback(self._refusals.discard)
        else:
            await refusal

    async def _text(self, frame: frames.CallFrame) -> str:
        """The text that follows a call, once the one before it is where it belongs."""
        if frame.server:
            raise frames.BadFrame("a text for a tool of a server")
        await self._one_in.acquire()
        body = await self._reader.text()
        if len(body) > self._limits.result_bytes:
            raise frames.BadFrame(f"a text of {len(body)} bytes")
        try:
            return body.decode()
        except UnicodeDecodeError as error:
            raise frames.BadFrame(str(error)) from error

    def _let_in(self, frame: frames.CallFrame) -> None:
        if frame.text:
            self._one_in.release()

    async def answered(self) -> None:
        """Return once all that was sent is answered: what is given up may have been done. Waits
        ``ANSWERS_SECS`` at most."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=ANSWERS_SECS)

    def cancel(self) -> None:
        """Give up what is still under way."""
        for task in (*self._tasks, *self._refusals):
            task.cancel()

    async def _answer_alone(self, frame: frames.CallFrame, ref: ToolRef, args: JsonObject) -> None:
        async with self._one_out:
            await self._answer(frame, ref, args)

    async def _answer(self, frame: frames.CallFrame, ref: ToolRef, args: JsonObject) -> None:
        started = time.monotonic()
        known, replayed = False, False
        outcome: CallOutcome = "unknown"
        try:
            result = await self._result(frame, ref, args)
            known, ref = result.ref is not None, result.ref or ref
            outcome = "failed" if result.is_error else "ok"
            replayed = result.replayed
            self._taken[bool(ref.server)] -= replayed  # it reaches no server
            await self._reply(frame, ref, result)
        except CallError as error:
            ref, known = error.ref, False
            outcome = "unknown" if error.unanswered else "failed"
            await self._refuse(frame, error)
        finally:
            if ref.server:
                ms = (time.monotonic() - started) * 1000
                shown = ref if known else _shown(ref)
                record = CallRecord(
                    server=shown.server,
                    tool=shown.tool,
                    ms=round(ms, 3),
                    outcome=outcome,
                    arguments="" if outcome == "ok" else _head(frame.args),
                    replayed=replayed,
                    line=frame.line,
                )
                self.records.append(record)

    async def _result(self, frame: frames.CallFrame, ref: ToolRef, args: JsonObject) -> ToolResult:
        try:
            size, limit = len(bytes(frame.args)), self._limits.argument_bytes
            if size > limit:
                raise TooLarge(ref, "arguments", size, limit)
            result = await self._call(ref, args)
        finally:
            self._let_in(frame)
        size, limit = len(result.raw), self._limits.value_bytes
        if not ref.server:
            limit += _ENVELOPE_BYTES
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


def _head(args: msgspec.Raw) -> str:
    text = bytes(args)[: 4 * _MAX_ARGUMENT_CHARS].decode(errors="replace")
    cut = len(text) > _MAX_ARGUMENT_CHARS
    return f"{text[: _MAX_ARGUMENT_CHARS - 1]}…" if cut else text


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


async def serve(
    line: frames.WorkerLine, job: Job, call: CallTool, explain: Explain | None = None
) -> Outcome:
    """Run ``job`` on the worker behind ``line``, serving its calls with ``call``.

    Ends within ``job.limits.timeout_secs``, not counting the time while a call has the client
    asked; the worker's processor time (RLIMIT_CPU) runs on then. Where the worker dies, ``explain``
    says why; it must bound its own time. Raises nothing for what a script or a worker does.
    """
    execution = _Execution(line, job, call)
    started = time.monotonic()
    with suppress(TimeoutError):
        async with job.clock.limit(job.limits.timeout_secs):
            await execution.run()
    ending = execution.ending or _timed_out(job.limits.timeout_secs, execution.where)
    if isinstance(ending, frames.WorkerGone):
        ending = await explain() if explain else _gone()
    return execution.outcome(ending, round((time.monotonic() - started) * 1000))


def _timed_out(secs: float, where: frames.Where) -> ScriptError:
    at = "" if where.line is None else f"; it was in line {where.line}"
    so_far = f"There {where.values[:_MAX_CHARS]}. " if where.values else ""
    message = f"The script did not end within {secs:g} s{at}."
    return ScriptError("Timeout", message, where.line, so_far + _TIMEOUT_HINT)


def _gone() -> ScriptError:
    return ScriptError("SandboxError", "The worker ended without a result.")


def _not_read(limits: Limits) -> ScriptError:
    return ScriptError(
        "MemoryLimit",
        f"The script did not read the answers to its calls: they were more than its "
        f"{limits.memory_mb} MiB of memory (sandbox.memory_mb of the namespace sets this limit).",
        hint="Make fewer calls at once, or ask each for less.",
    )


class _Execution:
    """What happens between a job and its end."""

    def __init__(self, line: frames.WorkerLine, job: Job, call: CallTool) -> None:
        self._job = job
        self._reader = frames.FrameReader(line, frames.largest(job.limits))
        self._writer = frames.Writer(line, unread(job.limits))
        self._calls = ScriptCalls(self._reader, self._writer, job.limits, call)
        self._whole: bytes | None = None
        self._stdout = _Stdout(job.limits.stdout_bytes)
        self.where = frames.Where(None)
        self.ending: _Ending | None = None

    async def run(self) -> None:
        """Serve the worker to its last frame, and know the ``ending``. Calls that a script leaves
        under way which failed, or died, have some time for their answers; then all are cancelled.
        """
        async with asyncio.TaskGroup() as group:
            self.ending = await self._last_frame(group)
            if not isinstance(self.ending, frames.Result):
                await self._calls.answered()
            self._calls.cancel()

    async def _last_frame(self, group: asyncio.TaskGroup) -> _Ending:
        try:
            await self._writer.send(frames.job(self._job), self._job.manifest)
            while not isinstance(frame := await self._reader.next(), frames.Result | frames.Error):
                if isinstance(frame, frames.CallFrame):
                    await self._calls.take(frame, group)
                elif isinstance(frame, frames.Where):
                    self.where = frame
                else:
                    self._stdout.add(frame.s)
            if isinstance(frame, frames.Result) and frame.whole:
                self._whole = await self._reader.text()
        except (frames.WorkerGone, frames.BadFrame) as fault:
            if self._writer.excess:
                return _not_read(self._job.limits)
            return fault  # as a value: a TaskGroup would wrap the exception
        return frame

    def outcome(self, ending: _Ending, ms: int) -> Outcome:
        """The outcome of an execution that ended so."""
        try:
            ended = self._concluded(ending)
        except frames.BadFrame as fault:
            ended = Outcome(error=_forged(fault))
        told = ending.notes if isinstance(ending, frames.Result | frames.Error) else []
        return replace(
            ended,
            stdout=self._stdout.text(),
            traceback=_cut(ending.traceback) if isinstance(ending, frames.Error) else None,
            calls=tuple(self._calls.records),
            notes=tuple(note[:_MAX_CHARS] for note in told[:_MAX_NOTES]) + self._stdout.notes(),
            execution_time_ms=ms,
        )

    def _concluded(self, ending: _Ending) -> Outcome:
        if isinstance(ending, frames.Result):
            return self._result(ending)
        if isinstance(ending, frames.Error):
            error = ScriptError(
                ending.type[:_MAX_CHARS],
                ending.message[:_MAX_CHARS],
                ending.line,
                _cut(ending.hint),
                ending.retryable,
            )
            return Outcome(error=error)
        return Outcome(error=ending if isinstance(ending, ScriptError) else _forged(ending))

    def _result(self, ending: frames.Result) -> Outcome:
        shown, limit = len(bytes(ending.value)), self._job.limits.result_bytes
        if shown > MAX_PREVIEW_BYTES:
            raise frames.BadFrame(f"{shown} bytes of a result to be shown")
        size = max(shown, len(self._whole or b""), len(bytes(ending.blocks)))
        if size > limit:
            text = f"The result has {size} bytes as JSON; the limit is {limit}."
            return Outcome(error=ScriptError("ResultLimit", text))
        return Outcome(frames.value(ending.value), frames.blocks(ending.blocks), self._whole)


def _forged(fault: Exception) -> ScriptError:
    text = f"The worker sent what no script sends ({fault}); the execution was ended."
    return ScriptError("SandboxError", text)


def _cut(text: str | None) -> str | None:
    return text[:_MAX_CHARS] if text else None


class _Stdout:
    """What the script printed, up to a limit in bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = self._left = limit
        self._parts: list[str] = []
        self._was_cut = False

    def add(self, text: str) -> None:
        data = text.encode()
        self._was_cut |= len(data) > self._left
        kept = data[: self._left].decode(errors="ignore")
        self._left -= len(data) if len(data) <= self._left else self._left
        if kept:
            self._parts.append(kept)

    def text(self) -> str:
        mark = f"\n[output cut at {self._limit} bytes]\n" if self._was_cut else ""
        return "".join(self._parts) + mark

    def notes(self) -> tuple[str, ...]:
        if not self._was_cut:
            return ()
        return (f"stdout was cut at {self._limit} bytes (sandbox limit); print less",)
