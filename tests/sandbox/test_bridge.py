"""The host's side of an execution, against workers that misbehave: sockets without a process."""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import pytest
from msgspec.structs import replace

from mcproxy.sandbox import bridge
from mcproxy.sandbox.frames import WorkerLine
from mcproxy.types import Job, Json, Limits, Outcome, ScriptError, ToolRef, ToolResult
from mcproxy.wire.peer import TURN_MESSAGES

LIMITS = Limits(
    timeout_secs=5,
    max_calls=3,
    argument_bytes=1000,
    result_bytes=1000,
    value_bytes=1000,
    stdout_bytes=100,
)
EMPTY = ToolResult(b'{"content":[]}')


async def echo(ref: ToolRef, args: Mapping[str, Json]) -> ToolResult:
    return EMPTY


def frame(value: Json | bytes) -> bytes:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return struct.pack("<I", len(body)) + body


def call(number: int, **fields: Json) -> bytes:
    return frame({"t": "call", "id": number, "server": "s", "tool": "t", "args": {}, **fields})


RESULT = frame({"t": "result", "value": 1, "notes": []})


class Worker:
    """A hand-driven worker: its end of the socket, and the outcome that the host comes to."""

    def __init__(self, sock: socket.socket, outcome: "asyncio.Future[Outcome]") -> None:
        self._sock, self.outcome = sock, outcome
        self._loop = asyncio.get_running_loop()

    async def send(self, *data: bytes) -> None:
        await self._loop.sock_sendall(self._sock, b"".join(data))

    async def read(self) -> Json:
        (size,) = struct.unpack("<I", await self._exactly(4))
        value: Json = json.loads(await self._exactly(size))
        return value

    async def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            data += await self._loop.sock_recv(self._sock, size - len(data))
        return data

    def close(self) -> None:
        self._sock.close()


Start = Callable[..., Awaitable[Worker]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Begin an execution whose worker is the test; the job and manifest frames are read away."""
    sockets: list[socket.socket] = []
    async with asyncio.TaskGroup() as group:

        async def start(
            tool: object = echo, limits: Limits = LIMITS, explain: bridge.Explain | None = None
        ) -> Worker:
            ours, theirs = socket.socketpair()
            sockets.extend((ours, theirs))
            for sock in (ours, theirs):
                sock.setblocking(False)
            job = Job("1", limits, b'{"servers": {}}')
            worker = Worker(
                theirs,
                group.create_task(bridge.serve(WorkerLine(ours), job, tool, explain)),  # type: ignore[arg-type]
            )
            first = await worker.read()
            assert isinstance(first, dict)
            assert first["source"] == "1"
            assert await worker.read() == {"servers": {}}
            return worker

        yield start
    for sock in sockets:
        sock.close()


async def test_a_result(start: Start) -> None:
    worker = await start()
    await worker.send(RESULT)
    outcome = await worker.outcome
    assert (outcome.value, outcome.error) == (1, None)


async def test_frames_in_pieces(start: Start) -> None:
    worker = await start()
    for byte in call(1):
        await worker.send(bytes([byte]))
    await worker.read()
    await worker.send(RESULT[:3], RESULT[3:])
    outcome = await worker.outcome
    assert outcome.value == 1
    assert len(outcome.calls) == 1


FORGED = {
    "no JSON": frame(b"garbage"),
    "empty": frame(b""),
    "no object": frame([1]),
    "unknown type": frame({"t": "reply", "id": 1}),
    "no type": frame({"value": 1}),
    "wrong field": frame({"t": "call", "id": "x", "server": "s", "tool": "t", "args": {}}),
    "arguments that are no object": call(1, args=[1]),
    "missing field": frame({"t": "call", "id": 1}),
    "a huge length": struct.pack("<I", 2**32 - 1),
    "not UTF-8": frame(b'{"t":"out","s":"\xff"}'),
    "lone surrogate": frame(b'{"t":"out","s":"\\ud800"}'),
    "NaN": frame(b'{"t":"result","value":NaN,"notes":[]}'),
    "deep result": frame(b'{"t":"result","value":' + b"[" * 400 + b"]" * 400 + b"}"),
    "very deep frame": frame(b"[" * 100_000),
    "deep arguments": call(1, args={}).replace(b'"args": {}', b'"args": ' + b"[" * 2),
    "more shown than a preview": frame({"t": "result", "value": "x" * 4000, "notes": []}),
    "blocks that are none": frame({"t": "result", "value": 1, "blocks": [{"type": "text"}]}),
    "no list of blocks": frame({"t": "result", "value": 1, "blocks": {}}),
    "a text for a tool": call(1, text="json"),
    "a text that is no UTF-8": call(1, server="", text="json") + frame(b"\xff"),
    "a text over its limit": call(1, server="", text="json") + frame(b"x" * 1001),
    "result of a wrong type": frame({"t": "error", "type": 1, "message": "x"}),
}


@pytest.mark.requirement("sandbox.forged_frames")
@pytest.mark.parametrize("name", FORGED)
async def test_forged_frames_end_the_execution(start: Start, name: str) -> None:
    worker = await start()
    await worker.send(FORGED[name])
    outcome = await worker.outcome
    assert outcome.error is not None
    assert outcome.error.type == "SandboxError"
    assert "no script sends" in outcome.error.message


@pytest.mark.requirement("sandbox.forged_frames")
async def test_a_result_over_its_limit(start: Start) -> None:
    worker = await start()
    await worker.send(frame({"t": "result", "value": 1, "whole": True}), frame(b"1" * 2000))
    outcome = await worker.outcome
    assert outcome.error is not None
    assert outcome.error.type == "ResultLimit"
    assert outcome.whole is None


@pytest.mark.requirement("results.references")
async def test_a_large_result_is_a_preview_and_the_bytes_that_came(start: Start) -> None:
    worker = await start()
    image: Json = {"type": "image", "data": "", "mimeType": "image/png"}
    head: Json = {"t": "result", "value": "so", "whole": True, "blocks": [image]}
    await worker.send(frame(head), frame(b"no JSON at all"))
    outcome = await worker.outcome
    assert (outcome.value, outcome.whole) == ("so", b"no JSON at all")
    assert outcome.blocks == (image,)


@pytest.mark.requirement("results.bounds")
async def test_of_what_is_kept_one_is_read_at_a_time(start: Start) -> None:
    """A script that keeps much makes its gateway hold one value, not all of them."""
    may, begun = asyncio.Event(), asyncio.Queue[Json]()

    async def keep(ref: ToolRef, args: Mapping[str, Json]) -> ToolResult:
        begun.put_nowait(args["json"])
        await may.wait()
        return EMPTY

    worker = await start(keep)
    puts = [call(n, server="", text="json") + frame(b"%d" % n) for n in range(3)]
    await worker.send(*puts)
    assert await begun.get() == "0"
    assert begun.empty()
    may.set()
    assert [await begun.get(), await begun.get()] == ["1", "2"]
    assert len([await worker.read() for _ in range(3)]) == 3
    await worker.send(RESULT)
    assert (await worker.outcome).error is None


async def test_a_text_of_a_call_over_the_limit_of_calls_is_read_away(start: Start) -> None:
    worker = await start()
    for number in range(5):
        await worker.send(call(number, server="", text="json"), frame(b"1"))
        await worker.read()
    await worker.send(RESULT)
    assert (await worker.outcome).value == 1


@pytest.mark.requirement("api.argument_limit")
async def test_arguments_over_their_limit_are_never_sent(start: Start) -> None:
    sent: list[ToolRef] = []

    async def tool(ref: ToolRef, args: Mapping[str, Json]) -> ToolResult:
        sent.append(ref)
        return EMPTY

    worker = await start(tool)
    await worker.send(call(1, args={"x": "y" * 2000}))
    reply = await worker.read()
    await worker.send(RESULT)
    await worker.outcome
    assert isinstance(reply, dict)
    assert isinstance(reply["error"], dict)
    assert reply["error"]["code"] == "too_large"
    assert sent == []


@pytest.mark.requirement("api.call_limit")
async def test_a_flood_of_calls_is_refused(start: Start) -> None:
    worker = await start()
    await worker.send(*(call(number) for number in range(100)))
    codes: list[str] = []
    for _ in range(100):
        reply = await worker.read()
        assert isinstance(reply, dict)
        error = reply.get("error")
        codes.append(str(error["code"]) if isinstance(error, dict) else "ok")
    await worker.send(RESULT)
    outcome = await worker.outcome
    assert sorted(codes) == ["call_limit"] * 97 + ["ok"] * 3
    assert len(outcome.calls) == 3


async def test_services_are_limited_too_and_are_no_calls(start: Start) -> None:
    worker = await start()
    for number in range(4):
        await worker.send(call(number, server="", tool="search"))
        reply = await worker.read()
        assert isinstance(reply, dict)
        assert ("error" in reply) == (number == 3)
    await worker.send(RESULT)
    assert (await worker.outcome).calls == ()


async def test_replies_carry_the_id_of_their_call(start: Start) -> None:
    gates = {"a": asyncio.Event(), "b": asyncio.Event()}

    async def tool(ref: ToolRef, args: Mapping[str, Json]) -> ToolResult:
        await gates[ref.tool].wait()
        return EMPTY

    worker = await start(tool)
    await worker.send(call(7, tool="a"), call(8, tool="b"))
    gates["b"].set()
    assert await worker.read() == {"t": "reply", "id": 8, "result": {"content": []}}
    gates["a"].set()
    assert await worker.read() == {"t": "reply", "id": 7, "result": {"content": []}}
    await worker.send(RESULT)
    assert [record.tool for record in (await worker.outcome).calls] == ["b", "a"]


@pytest.mark.requirement("execute.calls_cancelled")
@pytest.mark.parametrize("ending", ["result", "death", "timeout", "forged"])
async def test_calls_under_way_are_cancelled_at_the_end(start: Start, ending: str) -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def tool(ref: ToolRef, args: Mapping[str, Json]) -> ToolResult:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return EMPTY

    limits = Limits(timeout_secs=0.05) if ending == "timeout" else LIMITS
    worker = await start(tool, limits)
    await worker.send(call(1))
    await begun.wait()
    if ending == "death":
        worker.close()
    elif ending != "timeout":
        await worker.send(RESULT if ending == "result" else FORGED["no JSON"])
    outcome = await worker.outcome
    assert cancelled.is_set()
    assert [record.outcome for record in outcome.calls] == ["unknown"]  # it was under way
    types = {"death": "SandboxError", "timeout": "Timeout", "forged": "SandboxError"}
    assert (outcome.error.type if outcome.error else None) == types.get(ending)


@pytest.mark.requirement("execute.calls_answered")
@pytest.mark.parametrize("ending", ["error", "death"])
async def test_calls_under_way_when_a_script_fails_have_time_for_their_answers(
    start: Start, ending: str
) -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    async def tool(ref: ToolRef, args: Mapping[str, Json]) -> ToolResult:
        begun.set()
        await go.wait()
        return EMPTY

    worker = await start(tool)
    await worker.send(call(1))
    await begun.wait()
    if ending == "death":
        worker.close()
    else:
        await worker.send(frame({"t": "error", "type": "E", "message": "m"}))
    asyncio.get_running_loop().call_later(0.1, go.set)  # the end is seen first
    outcome = await worker.outcome
    assert outcome.error
    assert [record.outcome for record in outcome.calls] == ["ok"]


async def test_the_death_of_a_worker_is_explained_by_who_knows(start: Start) -> None:
    async def explain() -> ScriptError:
        return ScriptError("MemoryLimit", "too much")

    worker = await start(explain=explain)
    worker.close()
    assert (await worker.outcome).error == ScriptError("MemoryLimit", "too much")


async def test_a_worker_that_does_not_read_is_a_timeout(start: Start) -> None:
    async def tool(ref: ToolRef, args: Mapping[str, Json]) -> ToolResult:
        return ToolResult(b'{"content":"' + b"x" * (8 << 20) + b'"}')

    worker = await start(tool, Limits(timeout_secs=0.2))
    await worker.send(call(1))
    outcome = await worker.outcome
    assert outcome.error is not None
    assert outcome.error.type == "Timeout"


@pytest.mark.requirement("execute.stdout_limit")
async def test_stdout_is_cut_by_the_host(start: Start) -> None:
    worker = await start()
    out = frame({"t": "out", "s": "\u00e9" * 30})
    await worker.send(out, out, out, RESULT)
    outcome = await worker.outcome
    assert outcome.stdout == "\u00e9" * 50 + "\n[output cut at 100 bytes]\n"


async def test_notes_and_errors_of_a_worker_are_bounded(start: Start) -> None:
    worker = await start(limits=Limits())
    notes: Json = ["n" * 10_000 for _ in range(60)]
    error: Json = {"t": "error", "type": "T", "message": "m" * 100_000, "notes": notes}
    await worker.send(frame(error))
    outcome = await worker.outcome
    assert outcome.error is not None
    assert len(outcome.error.message) <= 16_000
    assert len(outcome.notes) <= 50


async def test_descriptors_that_are_sent_along_are_dropped(start: Start) -> None:
    worker = await start()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        socket.send_fds(worker._sock, [RESULT], [theirs.fileno()])
        theirs.close()
        assert (await worker.outcome).value == 1
        assert ours.recv(1) == b""  # no copy of the other end is open anywhere


@pytest.mark.requirement("sandbox.unread")
async def test_answers_that_a_worker_does_not_read_end_its_script(start: Start) -> None:
    large = ToolResult(b'{"content":"%b"}' % (b"x" * (1 << 20)))
    limits = Limits(timeout_secs=30, memory_mb=16, max_calls=100)
    asked = 0

    async def tool(ref: ToolRef, args: Mapping[str, Json]) -> ToolResult:
        nonlocal asked
        asked += 1
        return large

    worker = await start(tool, limits)
    await worker.send(*(call(number) for number in range(100)))
    outcome = await worker.outcome
    assert outcome.error
    assert outcome.error.type == "MemoryLimit"
    assert "did not read the answers" in outcome.error.message
    assert asked > 16


async def test_a_slow_worker_gets_all_answers(start: Start) -> None:
    large = ToolResult(b'{"content":"%b"}' % (b"x" * (1 << 20)))

    async def tool(ref: ToolRef, args: Mapping[str, Json]) -> ToolResult:
        return large

    worker = await start(tool, Limits(timeout_secs=30, memory_mb=64, max_calls=50))
    await worker.send(*(call(number) for number in range(50)))
    answers = [await worker.read() for _ in range(50)]
    assert {answer["id"] for answer in answers if isinstance(answer, dict)} == set(range(50))
    await worker.send(RESULT)
    assert (await worker.outcome).error is None


@pytest.mark.requirement("sandbox.floods")
async def test_frames_without_end_leave_turns_to_others(start: Start) -> None:
    worker = await start(limits=replace(LIMITS, timeout_secs=30))
    frames = 20_000
    flood = frame({"t": "out", "s": "x"}) * frames + RESULT
    turns = 0

    async def count() -> None:
        nonlocal turns
        while not worker.outcome.done():
            await asyncio.sleep(0)
            turns += 1

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(worker.send(flood))
        tasks.create_task(count())
    assert (await worker.outcome).value == 1
    assert turns > frames / TURN_MESSAGES / 2
