"""A remote upstream for tests that misbehaves as it is told: Streamable HTTP by hand.

It runs in the test's own process, so that a test can change it while it runs and read what it was
sent. Of the handshake era. Every ``tools/call`` that it takes is counted, which is how a test shows
that a call was run once.

Its tools: ``echo``, ``grow`` (adds a tool and says so on the GET stream), ``ping`` (asks the client
for a ping first), ``hang`` (never answers), ``drop`` (ends the connection without an answer),
``page`` (answers with a page for people), ``big`` (a reply over the limit). It answers ``pester``
too, with requests without end, and takes no reply to them.
"""

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus

from mcproxy.types import Json, JsonObject

VERSION = "2025-11-25"
TOOLS = ("echo", "grow", "ping", "hang", "drop", "page", "big")


@dataclass(frozen=True)
class Received:
    """One HTTP request as it arrived."""

    verb: str
    path: str
    headers: Mapping[str, str]
    message: JsonObject

    @property
    def method(self) -> str:
        """The method of the message in it."""
        return str(self.message.get("method", ""))

    @property
    def tool(self) -> str:
        """The tool that it calls, if it does."""
        params = self.message.get("params")
        return str(params.get("name", "")) if isinstance(params, dict) else ""


@dataclass
class Odd:
    """The server's behaviour, which a test may change at any time, and what it has seen.

    ``refusals`` maps an HTTP verb, a method or a tool to the status that answers it; ``resumable``
    gives events ids and ``drop`` its answer when the stream is resumed; ``session_id`` is one that
    no server should give; ``endpoint`` is what the GET stream begins with, as with HTTP+SSE.
    ``untaken`` counts the replies that wait to be taken.
    ``retry_after`` goes with each refusal; with ``lost_code`` a lost session is told as a JSON-RPC
    error of this code that bears the request's id.
    """

    streams: bool = False
    resumable: bool = False
    keeps_session: bool = True
    session_id: str = ""
    endpoint: str = ""
    token: str = ""
    location: str = ""
    retry_after: str = ""
    lost_code: int = 0
    refusals: dict[str, int] = field(default_factory=dict)
    url: str = ""
    received: list[Received] = field(default_factory=list)
    ran: Counter[str] = field(default_factory=Counter)
    untaken: int = 0
    pinged: asyncio.Event = field(default_factory=asyncio.Event)
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)
    sessions: set[str] = field(default_factory=set)
    tools: list[str] = field(default_factory=lambda: [*TOOLS])
    connections: list[asyncio.StreamWriter] = field(default_factory=list)
    listeners: list[asyncio.StreamWriter] = field(default_factory=list)
    dropped: dict[str, bytes] = field(default_factory=dict)
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def forget(self) -> None:
        """Lose all sessions, as a server does that was started again."""
        self.sessions.clear()
        for writer in self.listeners:
            writer.close()
        self.listeners.clear()

    def seen(self, method: str) -> list[Received]:
        """All requests so far of one method, or one HTTP verb."""
        return [one for one in self.received if method in (one.method, one.verb)]

    async def until_seen(self, method: str, times: int = 1) -> Received:
        """The request of a method, or HTTP verb, once there were so many."""
        async with asyncio.timeout(20), self.arrived:
            await self.arrived.wait_for(lambda: len(self.seen(method)) >= times)
            return self.seen(method)[times - 1]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        self.connections.append(writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while not writer.is_closing():
                first = await reader.readexactly(1)
                if first == b"\x16":  # TLS, on a port for plain HTTP
                    _write(writer, 400)
                    break
                request = await _read(first, reader)
                async with self.arrived:
                    self.received.append(request)
                    self.arrived.notify_all()
                await self._answer(request, writer)
                await writer.drain()
        writer.close()

    async def _answer(self, request: Received, writer: asyncio.StreamWriter) -> None:
        status = self._refused(request)
        if status:
            self._refuse(request, writer, status)
        elif request.verb == "GET":
            self._listen(request, writer)
        elif request.verb == "DELETE":
            self.sessions.discard(request.headers["mcp-session-id"])
            _write(writer, 200)
        elif request.method == "tools/call":
            await self._call(request, writer)
        elif "id" not in request.message or not request.method:
            if request.message.get("id") == "ping":
                self.pinged.set()
            if request.message.get("id") == "pester":
                self.untaken += 1
                await writer.wait_closed()  # it takes none
                return
            _write(writer, 202)
        else:
            self._reply(request, writer, self._result(request))

    def _refuse(self, request: Received, writer: asyncio.StreamWriter, status: int) -> None:
        headers = {"Location": self.location} if status in (301, 307) else {}
        headers |= {"Retry-After": self.retry_after} if self.retry_after else {}
        if status == 404 and self.lost_code and "id" in request.message:
            error: JsonObject = {"code": self.lost_code, "message": "who are you?"}
            body: JsonObject = {"jsonrpc": "2.0", "id": request.message["id"], "error": error}
            _write(writer, status, json.dumps(body).encode(), headers)
        else:
            _write(writer, status, b"refused", {"Content-Type": "text/plain", **headers})

    def _refused(self, request: Received) -> int:
        if self.location and request.path != self.location:
            return self.refusals.get("redirect", 307)
        if self.token and request.headers.get("authorization") != f"Bearer {self.token}":
            return 401
        asked = (request.verb, request.method, request.tool)
        status = next((self.refusals[one] for one in asked if one in self.refusals), 0)
        if status or not self.keeps_session or request.method in ("initialize", "server/discover"):
            return status
        session = request.headers.get("mcp-session-id")
        return 0 if session in self.sessions else 404 if session else 400

    def _result(self, request: Received) -> JsonObject:
        match request.method:
            case "initialize":
                return {
                    "protocolVersion": VERSION,
                    "capabilities": {
                        "tools": {"listChanged": True},
                        "resources": {"subscribe": True},
                    },
                    "serverInfo": {"name": "odd", "version": "1"},
                }
            case "tools/list":
                schema: JsonObject = {"type": "object"}
                return {"tools": [{"name": name, "inputSchema": schema} for name in self.tools]}
            case "resources/subscribe":
                return {}
        return {"error": {"code": -32601, "message": f"no {request.method} here"}}

    async def _call(self, request: Received, writer: asyncio.StreamWriter) -> None:
        self.ran[request.tool] += 1
        match request.tool:
            case "hang":
                self._begin_stream(writer)
            case "drop":
                self._drop(request, writer)
            case "page":
                _write(
                    writer, 200, b"<html><title>Hello</title></html>", {"Content-Type": "text/html"}
                )
            case "ping" | "pester":
                await self._ask(request, writer)
            case "grow":
                self.tools.append(f"grown_{len(self.tools)}")
                for listener in self.listeners:
                    _event(listener, _note("notifications/tools/list_changed"))
                self._reply(request, writer, _text("grown"))
            case "big":
                self._reply(request, writer, _text("x" * (17 << 20)))
            case _:
                self._reply(request, writer, _text(json.dumps(request.message["params"])))

    async def _ask(self, request: Received, writer: asyncio.StreamWriter) -> None:
        self._begin_stream(writer)
        while True:
            _event(writer, {"jsonrpc": "2.0", "id": request.tool, "method": "ping"})
            await writer.drain()
            if request.tool == "ping":
                break
        async with asyncio.timeout(20):
            await self.pinged.wait()
        _event(writer, _answer_to(request, _text("pong")))
        writer.close()

    def _drop(self, request: Received, writer: asyncio.StreamWriter) -> None:
        self._begin_stream(writer)
        if self.resumable:
            place = f"event-{next(self._numbers)}"
            self.dropped[place] = json.dumps(_answer_to(request, _text("late"))).encode()
            writer.write(f"id: {place}\nretry: 10\ndata:\n\n".encode())
        writer.close()

    def _listen(self, request: Received, writer: asyncio.StreamWriter) -> None:
        self._begin_stream(writer)
        if self.endpoint:
            writer.write(f"event: endpoint\ndata: {self.endpoint}\n\n".encode())
        place = request.headers.get("last-event-id", "")
        if place in self.dropped:
            writer.write(b"data: %b\n\n" % self.dropped.pop(place))
            writer.close()
        else:
            self.listeners.append(writer)

    def _reply(self, request: Received, writer: asyncio.StreamWriter, result: JsonObject) -> None:
        answer = _answer_to(request, result)
        headers = {"Mcp-Session-Id": self.session_id} if self.session_id else {}
        if request.method == "initialize" and self.keeps_session:
            session = f"session-{next(self._numbers)}"
            self.sessions.add(session)
            headers["Mcp-Session-Id"] = session
        if self.streams:
            self._begin_stream(writer, headers)
            _event(writer, answer)
            writer.close()
        else:
            _write(writer, 200, json.dumps(answer).encode(), headers)

    def _begin_stream(
        self, writer: asyncio.StreamWriter, headers: Mapping[str, str] | None = None
    ) -> None:
        """Streams have no length and end with the connection (HTTP/1.0), to keep this simple."""
        _head(writer, 200, {"Content-Type": "text/event-stream", **(headers or {})})


@asynccontextmanager
async def serving(server: Odd, port: int = 0) -> AsyncIterator[Odd]:
    """Let the server listen for as long as the block lasts; its ``url`` says where."""
    listener = await asyncio.start_server(server.serve, "127.0.0.1", port, limit=1 << 22)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/mcp"
    try:
        yield server
    finally:
        listener.close()
        server.forget()
        for writer in server.connections:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


async def _read(begun: bytes, reader: asyncio.StreamReader) -> Received:
    head = (begun + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.split("\r\n")
    verb, path, _ = first.split(" ")
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    message: Json = json.loads(body or b"{}")
    return Received(verb, path, headers, message if isinstance(message, dict) else {})


def _write(
    writer: asyncio.StreamWriter,
    status: int,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
) -> None:
    kind = {"Content-Type": "application/json", "Content-Length": str(len(body))}
    _head(writer, status, {**kind, **(headers or {})}, version="1.1")
    writer.write(body)


def _head(
    writer: asyncio.StreamWriter, status: int, headers: Mapping[str, str], version: str = "1.0"
) -> None:
    lines = [f"HTTP/{version} {status} {HTTPStatus(status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))


def _event(writer: asyncio.StreamWriter, message: JsonObject) -> None:
    writer.write(b"data: " + json.dumps(message).encode() + b"\r\n\r\n")


def _answer_to(request: Received, result: JsonObject) -> JsonObject:
    body: JsonObject = result if "error" in result else {"result": result}
    return {"jsonrpc": "2.0", "id": request.message.get("id"), **body}


def _note(method: str) -> JsonObject:
    return {"jsonrpc": "2.0", "method": method}


def _text(text: str) -> JsonObject:
    return {"content": [{"type": "text", "text": text}]}
