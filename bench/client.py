"""A client of Streamable HTTP that costs next to nothing, and the load that many of them make.

It speaks to any server of the handshake era, with a session where it is given one, and reads both
kinds of reply, a JSON body and a stream of events. It is no example of a client: nothing is
retried, and a message that no request asked for is skipped.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import cast

from mcproxy.types import Json, JsonObject

HOST = "127.0.0.1"
START_SECS = 60.0  # a program of others may have to compile itself at its first start
LOOK_SECS = 0.01
READ_BYTES = 1 << 26  # of one reply: the tools of a large catalogue
VERSION = "2025-06-18"  # every program measured here knows it
HELLO: JsonObject = {
    "protocolVersion": VERSION,
    "capabilities": {},
    "clientInfo": {"name": "bench", "version": "1"},
}


class Session:
    """One connection, kept, and the session on it."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str
    ) -> None:
        self._reader, self._writer, self._path = reader, writer, path
        self._headers = f"MCP-Protocol-Version: {VERSION}\r\n"
        self.welcome: JsonObject = {}

    def close(self) -> None:
        """Hang up; the server may keep what it likes."""
        self._writer.close()

    async def shake_hands(self) -> None:
        """Initialize, and keep the session's id, if there is one."""
        head, body = await self.exchange(self.prepared("initialize", HELLO))
        for line in head.decode("latin-1").split("\r\n"):
            name, _, value = line.partition(":")
            if name.lower() == "mcp-session-id":
                self._headers += f"Mcp-Session-Id: {value.strip()}\r\n"
        self.welcome = result(body)
        await self.exchange(self._post({"jsonrpc": "2.0", "method": "notifications/initialized"}))

    async def through(self, port: int) -> "Session":
        """The same session, on a connection of its own to another port."""
        other = Session(*await asyncio.open_connection(HOST, port, limit=READ_BYTES), self._path)
        other._headers = self._headers
        return other

    def prepared(self, method: str, params: JsonObject) -> bytes:
        """A request as bytes, to be sent any number of times."""
        return self._post({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})

    def call(self, name: str, arguments: JsonObject) -> bytes:
        """A call of a tool as bytes."""
        return self.prepared("tools/call", {"name": name, "arguments": arguments})

    async def ask(self, method: str, params: JsonObject) -> JsonObject:
        """The result of one request."""
        _, body = await self.exchange(self.prepared(method, params))
        return result(body)

    async def tools(self) -> list[JsonObject]:
        """All tools, page after page."""
        found: list[JsonObject] = []
        params: JsonObject = {}
        while True:
            page = await self.ask("tools/list", params)
            found += cast("list[JsonObject]", page["tools"])
            if not (cursor := page.get("nextCursor")):
                return found
            params = {"cursor": cursor}

    async def exchange(self, data: bytes) -> tuple[bytes, bytes]:
        """Send a request; the head and the body of its reply."""
        self._writer.write(data)
        head = await self._reader.readuntil(b"\r\n\r\n")
        lowered = head.lower()
        if b"transfer-encoding: chunked" in lowered:
            return head, await self._chunks()
        at = lowered.find(b"content-length:")
        length = 0 if at < 0 else int(lowered[at + 15 : lowered.index(b"\r\n", at)])
        return head, await self._reader.readexactly(length)

    async def _chunks(self) -> bytes:
        body = b""
        while True:
            size = int(await self._reader.readuntil(b"\r\n"), 16)
            chunk = await self._reader.readexactly(size + 2)
            if not size:
                return body
            body += chunk[:-2]

    def _post(self, message: JsonObject) -> bytes:
        body = json.dumps(message).encode()
        head = (
            f"POST {self._path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n"
            f"Accept: application/json, text/event-stream\r\nContent-Length: {len(body)}\r\n"
        )
        return f"{head}{self._headers}\r\n".encode() + body


@dataclass(frozen=True, slots=True)
class Place:
    """Where a program listens; ``shakes`` unless it is one that knows no sessions."""

    port: int
    path: str = "/mcp"
    shakes: bool = True

    async def connect(self) -> Session:
        """A session of one's own."""
        reader, writer = await asyncio.open_connection(HOST, self.port, limit=READ_BYTES)
        session = Session(reader, writer, self.path)
        if self.shakes:
            await session.shake_hands()
        return session

    async def answers(self) -> Session:
        """The first session that it answers."""
        async with asyncio.timeout(START_SECS):
            while True:
                try:
                    return await self.connect()
                except (OSError, EOFError):
                    await asyncio.sleep(LOOK_SECS)


def result(body: bytes) -> JsonObject:
    """The result in a reply, whether a JSON body or a stream of events."""
    lines = [body] if body.lstrip().startswith(b"{") else body.splitlines()
    for line in lines:
        data = line.removeprefix(b"data:").strip()
        if data.startswith(b"{"):
            message = json.loads(data)
            if "error" in message:
                raise RuntimeError(str(message["error"]))
            if "result" in message:
                return cast("JsonObject", message["result"])
    raise ValueError(f"no reply in {body[:200]!r}")


def text(found: JsonObject) -> str:
    """What a model reads of a call's result."""
    blocks = cast("list[JsonObject]", found.get("content", []))
    return "\n".join(str(block.get("text", "")) for block in blocks)


@dataclass(frozen=True, slots=True)
class Load:
    """The times of calls of so many clients at once."""

    ms: tuple[float, ...]
    secs: float
    failed: int

    @property
    def rate(self) -> float:
        """Calls a second that were answered rightly."""
        return (len(self.ms) - self.failed) / self.secs


async def load(
    connect: Callable[[], Awaitable[Session]],
    request: Callable[[Session], bytes],
    clients: int,
    secs: float,
    wanted: bytes = b"",
    pause_secs: float = 0,
) -> Load:
    """Let them call for so long, with a pause before each call; a reply without the bytes
    ``wanted`` counts as failed."""
    sessions = [await connect() for _ in range(clients)]
    times: list[float] = []
    failed = 0

    async def calls(session: Session) -> None:
        nonlocal failed
        data = request(session)
        while time.perf_counter() < until:
            await asyncio.sleep(pause_secs)
            started = time.perf_counter()
            _, body = await session.exchange(data)
            times.append((time.perf_counter() - started) * 1000)
            failed += wanted not in body

    begun = time.perf_counter()
    until = begun + secs
    async with asyncio.TaskGroup() as tasks:
        for session in sessions:
            tasks.create_task(calls(session))
    taken = time.perf_counter() - begun
    for session in sessions:
        session.close()
    return Load(tuple(times), taken, failed)


def argument(value: Json) -> Json:
    """A value for a parameter with this schema: the plainest that it admits."""
    schema = value if isinstance(value, dict) else {}
    if isinstance(choices := schema.get("enum"), list):
        return choices[0]
    kind = schema.get("type")
    plain: dict[str, Json] = {
        "integer": schema.get("minimum", 1),
        "number": schema.get("minimum", 1),
        "boolean": True,
        "array": [],
        "object": {},
    }
    return plain.get(str(kind), "text")
