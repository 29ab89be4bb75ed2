"""Servers over HTTP+SSE that take a message only when they have dealt with it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from mcproxy.call_errors import CallTimeout
from mcproxy.types import Json, JsonObject
from mcproxy.upstream.remote import sse
from tests.upstream.fleets import running

POST_SECS = 0.1
TOOLS: JsonObject = {"tools": [{"name": "work", "inputSchema": {"type": "object"}}]}
HELLO: JsonObject = {
    "protocolVersion": "2024-11-05",
    "capabilities": {"tools": {}},
    "serverInfo": {"name": "slow", "version": "1"},
}


class Slow:
    """A server by hand; a call of its tool ends when ``go`` is set."""

    def __init__(self) -> None:
        self.url = ""
        self.go = asyncio.Event()
        self.methods: list[str] = []
        self._stream: asyncio.StreamWriter | None = None
        self._open: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection's requests."""
        self._open.append(writer)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                if head.startswith(b"GET"):
                    self._stream = writer
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
                    writer.write(b"event: endpoint\ndata: /post\n\n")
                else:
                    size = head.lower().partition(b"content-length:")[2].split()[0]
                    await self._take(json.loads(await reader.readexactly(int(size))))
                    writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _take(self, message: JsonObject) -> None:
        method = str(message["method"])
        self.methods.append(method)
        if "id" not in message:
            return
        results: dict[str, JsonObject] = {"initialize": HELLO, "tools/list": TOOLS}
        if method == "tools/call":
            await self.go.wait()
            results[method] = {"content": [{"type": "text", "text": "worked"}]}
        reply: dict[str, Json] = {"jsonrpc": "2.0", "id": message["id"]}
        unknown: JsonObject = {"code": -32601, "message": "no such method"}
        reply |= {"result": results[method]} if method in results else {"error": unknown}
        assert self._stream
        self._stream.write(f"event: message\ndata: {json.dumps(reply)}\n\n".encode())

    def close(self) -> None:
        for writer in self._open:
            writer.close()


@asynccontextmanager
async def serving() -> AsyncIterator[Slow]:
    slow = Slow()
    server = await asyncio.start_server(slow.serve, "127.0.0.1", 0)
    slow.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/sse"
    try:
        yield slow
    finally:
        slow.go.set()
        server.close()
        slow.close()


@pytest.mark.requirement("progress.slow_posts")
async def test_a_call_may_take_longer_than_a_message_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "POST_SECS", POST_SECS)
    async with serving() as slow, running(it={"url": slow.url, "transport": "sse"}) as watched:
        asyncio.get_running_loop().call_later(5 * POST_SECS, slow.go.set)
        worked = await watched.call("it", "work")
        assert worked["content"] == [{"type": "text", "text": "worked"}]


@pytest.mark.requirement("progress.slow_posts")
async def test_its_own_limit_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "POST_SECS", POST_SECS)
    async with serving() as slow:
        definition: JsonObject = {"url": slow.url, "transport": "sse"}
        async with running(it={**definition, "timeout_secs": 3 * POST_SECS}) as watched:
            with pytest.raises(CallTimeout):
                await watched.call("it", "work")
            slow.go.set()
            worked = await watched.call("it", "work")
            assert "worked" in str(worked)
