"""Event streams as ASGI sees them."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from starlette.requests import ClientDisconnect
from starlette.types import Message

from mcproxy.cancellation import Stoppable
from mcproxy.frontends.responses import EventStream, event
from mcproxy.frontends.stream import QUEUED_MESSAGES, Stream
from tests.frontends.serving import BOUND_SECS


class Connection:
    """A client's connection: what it was sent, whether that was cut off, and when it leaves or
    stops reading."""

    def __init__(self) -> None:
        self.sent: asyncio.Queue[Message] = asyncio.Queue()
        self.is_cut_off = False
        self.reads = asyncio.Event()
        self.reads.set()
        self._block = Stoppable()

    def stop_when_gone(self, block: Stoppable) -> None:
        self._block = block

    def leave(self) -> None:
        self._block.stop(ClientDisconnect())

    def cut_off(self) -> None:
        self.is_cut_off = True

    async def receive(self) -> Message:
        raise AssertionError("the body was read before")

    async def send(self, message: Message) -> None:
        await self.reads.wait()
        self.sent.put_nowait(message)

    async def body(self) -> bytes:
        """What is sent next."""
        body = (await self.sent.get())["body"]
        assert isinstance(body, bytes)
        return body


class Open:
    """An event stream that is being sent."""

    def __init__(self, tasks: asyncio.TaskGroup, **options: float | bool) -> None:
        self.connection, self.stream, self.closed = Connection(), Stream("s"), asyncio.Event()
        response = EventStream(self.stream.attach(), self.closed.set, **options)  # type: ignore[arg-type]
        connection = self.connection
        scope = {"state": {"request": connection}}
        self.task = tasks.create_task(response(scope, connection.receive, connection.send))


@pytest.fixture
async def tasks() -> AsyncIterator[asyncio.TaskGroup]:
    async with asyncio.timeout(BOUND_SECS), asyncio.TaskGroup() as group:
        yield group


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (event(b"{}"), b"event: message\ndata: {}\n\n"),
        (event(b"{}", id_="1-2"), b"event: message\nid: 1-2\ndata: {}\n\n"),
        (event(b"/x", name="endpoint"), b"event: endpoint\ndata: /x\n\n"),
        (event(b"", id_="1-0"), b"event: message\nid: 1-0\ndata: \n\n"),
    ],
)
def test_an_event(written: bytes, text: bytes) -> None:
    assert written == text


async def test_a_stream_from_beginning_to_end(tasks: asyncio.TaskGroup) -> None:
    sending = Open(tasks, resumable=True)
    start = await sending.connection.sent.get()
    assert (b"x-accel-buffering", b"no") in start["headers"]
    assert (b"content-type", b"text/event-stream") in start["headers"]
    assert (await sending.connection.body()).startswith(b":")  # headers and a sign of life at once
    sending.stream.put(b"1")
    assert await sending.connection.body() == event(b"1", id_="s-1")
    sending.stream.end(b"2")
    assert await sending.connection.body() == event(b"2", id_="s-2")
    last = await sending.connection.sent.get()
    assert (last["body"], last["more_body"]) == (b"", False)
    await sending.closed.wait()
    assert not sending.stream.has_reader


@pytest.mark.requirement("sse.heartbeat")
async def test_a_quiet_stream_has_a_heartbeat(tasks: asyncio.TaskGroup) -> None:
    sending = Open(tasks, heartbeat_secs=0.001)
    await sending.connection.sent.get()
    for _ in range(3):
        assert (await sending.connection.body()).startswith(b":")
    sending.connection.leave()
    await sending.closed.wait()


@pytest.mark.requirement("mcp.slow_reader")
async def test_a_client_that_reads_nothing_is_cut_off(tasks: asyncio.TaskGroup) -> None:
    sending, other = Open(tasks), Open(tasks)
    for _ in range(2):
        await sending.connection.sent.get()
    sending.connection.reads.clear()
    for _ in range(QUEUED_MESSAGES + 2):
        sending.stream.put(b"more")
    await sending.task
    assert sending.closed.is_set()
    assert sending.connection.is_cut_off
    assert sending.connection.sent.empty()  # no end was sent: it shows that something is missing
    other.stream.end(b"fine")
    await other.closed.wait()
