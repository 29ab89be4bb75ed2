"""HTTP/1.1 as it is spoken on a connection (RFC 9110, 9112), by raw bytes."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from starlette.types import Receive, Scope, Send

from mcproxy.frontends.connections import ConnectionLimits, Connections
from tests.frontends.serving import BOUND_SECS, request, serving

PING = json.dumps(request("ping")).encode()
HEAD = b"POST /message HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n" % len(PING)
HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
CLOSE = b"Connection: close\r\n\r\n"


async def said(port: int, sent: bytes) -> bytes:
    """What comes back until the connection is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    async with asyncio.timeout(BOUND_SECS):
        told = await reader.read()
    writer.close()
    return told


async def answered(sent: bytes) -> tuple[bytes, bytes]:
    """Head and body of what the gateway answers."""
    async with serving() as served:
        head, _, body = (await said(served.http.base_url.port or 0, sent)).partition(b"\r\n\r\n")
        return head.lower(), body


@pytest.mark.requirement("http.protocol")
@pytest.mark.parametrize(
    ("sent", "status"),
    [
        pytest.param(HEAD + CLOSE + PING, 200, id="close"),
        pytest.param(HEAD.replace(b"1.1", b"1.0") + b"\r\n" + PING, 200, id="HTTP/1.0"),
        pytest.param(HEALTH.replace(b" /", b" http://localhost/") + CLOSE, 200, id="absolute"),
        pytest.param(HEALTH.replace(b"/health", b"/%68ealth?x=%20") + CLOSE, 200, id="encoded"),
        pytest.param(HEALTH.replace(b"GET", b"DELETE") + CLOSE, 405, id="method"),
        pytest.param(HEALTH.replace(b"health", b"nothing") + CLOSE, 404, id="path"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00", 400, id="TLS"),
        pytest.param(HEALTH + b"X : y\r\n" + CLOSE, 400, id="space in a header's name"),
        pytest.param(
            HEAD + b"Transfer-Encoding: chunked\r\n" + CLOSE + PING, 400, id="two lengths"
        ),
        pytest.param(
            HEALTH + b"Upgrade: websocket\r\nConnection: Upgrade, close\r\n\r\n", 200, id="upgrade"
        ),
        pytest.param(HEAD + CLOSE + PING + HEALTH + CLOSE, 200, id="more behind the last one"),
    ],
)
async def test_requests_are_answered_and_the_connection_closed(sent: bytes, status: int) -> None:
    head, body = await answered(sent)
    assert head.startswith(b"http/1.1 %d " % status)
    assert b"\r\nconnection: close" in head
    assert b"content-length: %d" % len(body) in head, "one answer, of its length"


@pytest.mark.requirement("http.protocol")
async def test_a_trailer_passes_for_no_header() -> None:
    trailer = b"0\r\nX-Namespace: locked\r\nAuthorization: Bearer wrong\r\n\r\n"
    chunks = b"%x\r\n%b\r\n%b" % (len(PING), PING, trailer)
    head = HEAD.replace(b"Content-Length: %d" % len(PING), b"Transfer-Encoding: chunked")
    answer, body = await answered(head + CLOSE + chunks)
    assert answer.startswith(b"http/1.1 200 "), "as a header, a wrong token is 401"
    assert b'"result"' in body


async def test_a_head_alone_is_asked_for() -> None:
    head, body = await answered(HEALTH.replace(b"GET", b"HEAD") + CLOSE)
    assert (b"content-length: 2" in head, body) == (True, b"")


async def test_a_client_that_asks_before_it_sends_is_told_to() -> None:
    async with serving() as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.http.base_url.port)
        writer.write(HEAD + b"Expect: 100-continue\r\n" + CLOSE)
        async with asyncio.timeout(BOUND_SECS):
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(PING)
            assert (await reader.read()).startswith(b"HTTP/1.1 200 OK\r\n")
        writer.close()


@asynccontextmanager
async def odd(*messages: dict[str, object]) -> AsyncIterator[int]:
    """The port of an application that sends these ASGI messages, then fails."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)
        raise RuntimeError("a fault")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        connections = Connections(ConnectionLimits())
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(connections.run(app, listener))
            yield listener.getsockname()[1]
            running.cancel()


def start(*headers: tuple[bytes, bytes]) -> dict[str, object]:
    return {"type": "http.response.start", "status": 200, "headers": [*headers]}


PART: dict[str, object] = {"type": "http.response.body", "body": b"part", "more_body": True}


async def test_a_fault_before_the_answer_is_told_without_words() -> None:
    async with odd(start((b"x", b"1"))) as port:
        told = await said(port, HEALTH + b"\r\n")
    assert told.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert told.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("value", [b"a\r\nset-cookie: b", b"a\nb", b"a\rb", b"a\0b"])
async def test_no_header_of_an_answer_makes_another(value: bytes) -> None:
    async with odd(start((b"x", value)), PART) as port:
        told = await said(port, HEALTH + b"\r\n")
    assert told.startswith(b"HTTP/1.1 500 ")
    assert b"x: a" not in told


async def test_an_answer_that_is_cut_off_shows() -> None:
    async with odd(start(), PART) as port:
        told = await said(port, HEALTH + b"\r\n")
    assert told.endswith(b"\r\n\r\n4\r\npart\r\n"), "no last chunk"
    async with odd(start(), PART) as port:
        told = await said(port, HEALTH.replace(b"1.1", b"1.0") + b"\r\n")
    assert told.endswith(b"\r\n\r\npart"), "HTTP/1.0 knows no chunks"
