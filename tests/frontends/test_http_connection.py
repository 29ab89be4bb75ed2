"""Connections of clients that send without end, or ask and do not read, on real sockets."""

import asyncio
import gc
import json
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest

from mcproxy.frontends.connections import ConnectionLimits
from mcproxy.frontends.http_request import HttpRequest
from mcproxy.frontends.sessions import Bounds
from mcproxy.types import JsonObject
from tests.frontends.serving import BOUND_SECS, Served, request, script, serving

HEAD = b"POST /message HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
LARGE = 4_000_000  # more than the kernel keeps for a client that has a small buffer
MB = 1_000_000
LIMITS = ConnectionLimits(in_all=8, of_one_address=4)


@asynccontextmanager
async def connected(
    served: Served, first_words: bytes = b""
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection that has sent something."""
    url = served.http.base_url
    ours = socket.socket()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    ours.setblocking(False)
    await asyncio.get_running_loop().sock_connect(ours, (url.host, url.port))
    reader, writer = await asyncio.open_connection(sock=ours, limit=4096)
    writer.write(first_words)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def closed(reader: asyncio.StreamReader) -> bytes:
    """What was sent before the connection was closed; waits for that, bounded."""
    said = b""
    with suppress(ConnectionError):
        async with asyncio.timeout(BOUND_SECS):
            while part := await reader.read(1 << 16):
                said += part
    return said


def post(body: bytes, *headers: bytes) -> bytes:
    lines = b"".join(header + b"\r\n" for header in headers)
    return HEAD + lines + b"Content-Length: %d\r\n\r\n" % len(body) + body


def waiting_script() -> bytes:
    """A call that is answered when the test says so."""
    call: JsonObject = {"name": "execute", "arguments": {"code": "wait"}}
    return post(json.dumps(request("tools/call", call)).encode())


def echoed(size: int, *headers: bytes) -> bytes:
    """A request whose refusal repeats so many bytes of it."""
    return post(
        json.dumps({"jsonrpc": "2.0", "id": "x" * size, "method": "none"}).encode(), *headers
    )


@pytest.mark.requirement("http.hostile_heads")
@pytest.mark.parametrize(
    "beginning",
    [
        pytest.param(b"GET /health HTTP/1.1\r\nX: ", id="first head"),
        pytest.param(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /", id="second head"),
        pytest.param(waiting_script() + b"GET /health HTTP/1.1\r\nX: ", id="beside a request"),
        pytest.param(
            HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0\r\nX: ", id="trailer of a body"
        ),
    ],
)
async def test_a_head_or_trailer_without_end_is_cut_off(beginning: bytes) -> None:
    async with serving() as served, connected(served, beginning) as (reader, writer):
        with suppress(ConnectionError):
            async with asyncio.timeout(BOUND_SECS):
                while not reader.at_eof():
                    writer.write(b"x" * 4096)
                    await writer.drain()
                    await asyncio.sleep(0)
        await closed(reader)
        assert (await served.http.get("/health")).status_code == 200


@pytest.mark.requirement("http.hostile_bodies")
async def test_small_chunks_of_a_body_are_no_trailer() -> None:
    body = json.dumps(request("ping")).encode() + b" " * 60_000
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    sent = HEAD + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks
    async with serving() as served, connected(served, sent) as (reader, _):
        assert b'"result"' in await closed(reader)


@pytest.mark.requirement("http.hostile_heads")
async def test_requests_far_ahead_of_their_turn_are_cut_off() -> None:
    ahead = waiting_script() + b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100
    async with serving() as served, connected(served, ahead) as (reader, _):
        assert await closed(reader) == b""
        async with asyncio.timeout(BOUND_SECS):
            await served.scripts.cancelled.wait()


async def test_requests_a_little_ahead_are_answered_in_order() -> None:
    sent = b"".join(post(json.dumps(request("ping", id_=n)).encode()) for n in range(5))
    sent += b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    async with serving() as served, connected(served, sent) as (reader, _):
        said = await closed(reader)
        found = [said.index(b'"id":%d' % number) for number in range(5)]
        assert found == sorted(found)


async def test_what_is_asked_behind_a_stream_is_answered_behind_it() -> None:
    async with serving() as served:
        session = (await served.open())["Mcp-Session-Id"].encode()
        headers = b"Accept: text/event-stream", b"Mcp-Session-Id: " + session
        sent = b"".join(
            post(json.dumps(script("say 1", id_=n)).encode(), *headers) for n in (3, 4)
        ).replace(b"/message", b"/mcp")
        sent += b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        async with connected(served, sent) as (reader, _):
            said = await closed(reader)
        assert said.count(b"text/event-stream") == said.count(b"notifications/message") == 2
        found = [said.index(words) for words in (b'"id":3', b'"id":4', b"application/json")]
        assert found == sorted(found)


@pytest.mark.requirement("mcp.cancel")
async def test_a_client_leaves_whatever_it_has_sent_ahead() -> None:
    ahead = waiting_script() + b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    async with serving() as served:
        async with connected(served, ahead):
            await served.scripts.waiting.wait()
        async with asyncio.timeout(BOUND_SECS):
            await served.scripts.cancelled.wait()


@pytest.mark.requirement("http.idle_connections")
@pytest.mark.parametrize(
    "words",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"POST /mess", id="half a head"),
        pytest.param(HEAD + b"Content-Length: 100\r\n\r\n{", id="half a body"),
        pytest.param(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n", id="idle"),
    ],
)
async def test_who_waits_for_nothing_gives_way(words: bytes) -> None:
    async with serving(limits=LIMITS) as served, connected(served, words) as (first, _):
        async with connected(served, words), connected(served, words), connected(served, words):
            for _ in range(3):  # on a connection of its own
                async with connected(served, post(b"{}", b"Connection: close")) as (reader, _):
                    assert (await closed(reader)).startswith(b"HTTP/1.1 200")
        await closed(first)
        assert len(served.connections) <= LIMITS.of_one_address


@pytest.mark.requirement("http.idle_connections")
async def test_a_request_under_way_does_not_give_way() -> None:
    async with serving(limits=LIMITS) as served, connected(served, waiting_script()) as (first, _):
        async with asyncio.timeout(BOUND_SECS):
            await served.scripts.waiting.wait()
        for _ in range(10):
            async with connected(served), connected(served), connected(served), connected(served):
                assert not served.scripts.cancelled.is_set()
        served.scripts.go.set()
        async with asyncio.timeout(BOUND_SECS):
            assert (await first.readline()).startswith(b"HTTP/1.1 200")


@pytest.mark.requirement("http.slow_readers")
@pytest.mark.parametrize("headers", [(), (b"Connection: close",)], ids=["kept", "to be closed"])
async def test_replies_that_nobody_reads_are_bounded_together(headers: tuple[bytes, ...]) -> None:
    limits = ConnectionLimits(unread_bytes=LARGE)
    async with serving(limits=limits) as served, AsyncExitStack() as opened:
        for _ in range(12):
            await opened.enter_async_context(connected(served, echoed(LARGE, *headers)))
        async with asyncio.timeout(BOUND_SECS):
            while len(served.connections) > 4:
                await served.http.get("/health")


@pytest.mark.requirement("http.slow_readers")
async def test_no_second_answer_is_made_for_who_has_not_read_the_first() -> None:
    sent = echoed(LARGE) + waiting_script()
    async with serving() as served, connected(served, sent) as (reader, _):
        for _ in range(20):
            await served.http.get("/health")
        assert not served.scripts.waiting.is_set()
        async with asyncio.timeout(BOUND_SECS):
            while not served.scripts.waiting.is_set():
                await reader.read(1 << 16)


@pytest.mark.requirement("http.hostile_bodies")
async def test_what_requests_under_way_carry_is_bounded() -> None:
    call: JsonObject = {"name": "execute", "arguments": {"code": "wait"}, "_meta": {"x": "x" * MB}}
    held = post(json.dumps(request("tools/call", call)).encode())
    bounds = Bounds(body_bytes=5 * MB)  # half for one
    async with (
        asyncio.timeout(BOUND_SECS),
        serving(bounds) as served,
        connected(served, held),
        connected(served, held),
    ):
        while served.sessions.body_bytes.total < 2 * MB or not served.scripts.waiting.is_set():
            await served.http.get("/health")
        third = await served.http.post("/message", json=request("tools/call", call))
        assert third.status_code == 503
        small = await served.http.post("/message", json=request("ping"))
        assert "result" in small.json()


@pytest.mark.requirement("http.no_garbage")
async def test_an_answered_request_does_not_wait_for_the_collection_of_garbage() -> None:
    async with asyncio.timeout(BOUND_SECS), serving() as served:
        gc.collect()
        gc.disable()
        try:
            for path in ("/message", "/mcp", "/nowhere"):
                await served.http.post(path, json=request("ping"))
            kept = sum(isinstance(one, HttpRequest) for one in gc.get_objects())
        finally:
            gc.enable()
        assert kept <= 1  # the last one of its connection
