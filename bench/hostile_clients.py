"""Clients that do harm, each kind in a task of its own, until the time is over:

    python -m bench.hostile_clients PORT SECS [KIND ...]

They come from addresses of their own (127.0.0.2 and on), so that they are not taken for the client
that is measured beside them, and have the least priority: elsewhere they have their own machine.
"""

import asyncio
import itertools
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import uvloop

PAUSE_SECS = 0.02  # between two connections of one kind
HOLD_SECS = 5.0  # what is held is let go and done anew, so that it never stands still
ANSWER_SECS = 10.0
MIB = 1 << 20
VERSION = "2026-07-28"
PREFIX = "io.modelcontextprotocol/"
HEAD = "{} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{}\r\n"

BUSY = "while True: pass"
MEMORY = "held = []\nwhile True: held.append(bytearray(1 << 24))"
FRAMES = """
import json, os, struct
args = {"a": 1, "b": 1}
body = json.dumps({"t": "call", "id": 1, "server": "large", "tool": "add", "args": args})
frame = struct.pack("<I", len(body)) + body.encode()
while True:
    os.write(3, frame * 100)
"""
EGRESS = """
import urllib.request
from concurrent.futures import ThreadPoolExecutor
def ask(number):
    try:
        urllib.request.urlopen(f"http://host{number}.example/", timeout=2)
    except Exception:
        pass
with ThreadPoolExecutor(8) as pool:
    while True:
        list(pool.map(ask, range(100)))
"""

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Harm = Callable[["Attacker"], Awaitable[None]]


class Attacker:
    """One address, and what is done from it."""

    def __init__(self, port: int, address: str) -> None:
        self._port, self._address = port, address

    @asynccontextmanager
    async def connection(self, first_words: bytes = b"") -> AsyncIterator[Connection]:
        """A connection that has sent something; its client reads only what it is told to."""
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self._port, local_addr=(self._address, 0), limit=1 << 16
        )
        try:
            writer.write(first_words)
            yield reader, writer
        finally:
            writer.transport.abort()

    async def hold(self, count: int, first_words: bytes) -> None:
        """So many connections that have sent something, for a while."""
        async with AsyncExitStack() as held:
            for _ in range(count):
                with suppress(OSError):
                    await held.enter_async_context(self.connection(first_words))
                await asyncio.sleep(PAUSE_SECS / 4)
            await asyncio.sleep(HOLD_SECS)

    async def ask(self, *requests: bytes) -> None:
        """Requests, each on a connection of its own, whose answers are awaited."""
        async with asyncio.TaskGroup() as tasks:
            for one in requests:
                tasks.create_task(self._answered(one))

    async def _answered(self, sent: bytes) -> None:
        with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            async with asyncio.timeout(ANSWER_SECS), self.connection(sent) as (reader, _):
                while await reader.read(1 << 16):
                    pass


def _post(path: str, body: object, *headers: str) -> bytes:
    text = json.dumps(body).encode()
    lines = "".join(f"{line}\r\n" for line in (*headers, f"Content-Length: {len(text)}"))
    return HEAD.format(f"POST {path}", lines).encode() + text


def _call(name: str, **arguments: object) -> dict[str, object]:
    params = {"name": name, "arguments": arguments}
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}


def _script(code: str) -> bytes:
    return _post("/sse/open", _call("execute", code=code, timeout_secs=5), "Connection: close")


async def half_heads(attacker: Attacker) -> None:
    """Heads that do not end."""
    await attacker.hold(400, b"POST /message HTTP/1.1\r\nHost: loc")


async def half_bodies(attacker: Attacker) -> None:
    """Bodies that do not end."""
    head = HEAD.format("POST /message", f"Content-Length: {4 * MIB - 1}\r\n").encode()
    await attacker.hold(60, head + b" " * (2 * MIB))


async def idle(attacker: Attacker) -> None:
    """Connections that say nothing."""
    await attacker.hold(600, b"")


async def churn(attacker: Attacker) -> None:
    """Connections that come and go."""
    for _ in range(100):
        async with attacker.connection(b"GET / HTTP/1.1\r\n"):
            await asyncio.sleep(PAUSE_SECS / 10)


async def unread_streams(attacker: Attacker) -> None:
    """Streams on which large replies come that nobody reads."""
    opening = HEAD.format("GET /sse", "Accept: text/event-stream\r\n").encode()
    async with AsyncExitStack() as held:
        for _ in range(10):
            reader, _ = await held.enter_async_context(attacker.connection(opening))
            async with asyncio.timeout(ANSWER_SECS):
                said = await reader.readuntil(b"session_id=")
                id_ = (await reader.readline()).decode().strip()
            assert said
            path = f"/message?session_id={id_}"
            large = _post(path, _call("large__big", bytes=4_000_000), "Connection: close")
            await attacker.ask(*[large] * 4)
        await asyncio.sleep(HOLD_SECS)


async def unread_replies(attacker: Attacker) -> None:
    """Large replies, and many, that nobody reads."""
    await attacker.hold(20, _post("/message", _call("large__big", bytes=4_000_000)) * 3)


async def listeners(attacker: Attacker) -> None:
    """Subscriptions that nobody reads."""
    meta = {f"{PREFIX}protocolVersion": VERSION, f"{PREFIX}clientCapabilities": {}}
    params = {"notifications": {"toolsListChanged": True}, "_meta": meta}
    body = {"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": params}
    accept = "Accept: application/json, text/event-stream"
    named = (f"MCP-Protocol-Version: {VERSION}", "Mcp-Method: subscriptions/listen")
    await attacker.hold(600, _post("/mcp", body, accept, *named))


async def batches(attacker: Attacker) -> None:
    """Batches of dear requests."""
    listing = [{"jsonrpc": "2.0", "id": n, "method": "tools/list"} for n in range(1000)]
    calls = [{**_call("large__big", bytes=100_000), "id": n} for n in range(500)]
    await attacker.ask(*(_post("/message", body, "Connection: close") for body in (listing, calls)))


async def scripts(attacker: Attacker) -> None:
    """Scripts that never end, fill the memory, forge calls, or ask the network without pause."""
    await attacker.ask(*map(_script, (BUSY, MEMORY, FRAMES, EGRESS)))


HARMS: Sequence[Harm] = (
    half_heads,
    half_bodies,
    idle,
    churn,
    unread_streams,
    unread_replies,
    listeners,
    batches,
    scripts,
)


async def attack(port: int, secs: float, kinds: Sequence[str]) -> dict[str, int]:
    """Do these kinds of harm at once, again and again, or all; how often each was done."""
    harms = [harm for harm in HARMS if harm.__name__ in kinds or not kinds]
    done = {harm.__name__: 0 for harm in harms}

    async def repeat(harm: Harm, attacker: Attacker) -> None:
        while True:
            with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                await harm(attacker)
                done[harm.__name__] += 1
            await asyncio.sleep(PAUSE_SECS)

    addresses = (f"127.0.0.{number}" for number in itertools.count(2))
    with suppress(TimeoutError):
        async with asyncio.timeout(secs), asyncio.TaskGroup() as tasks:
            for harm, address in zip(harms, addresses, strict=False):
                tasks.create_task(repeat(harm, Attacker(port, address)))
    return done


def main() -> None:
    """Attack, and print what was done."""
    _, port, secs, *kinds = sys.argv
    os.nice(19)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(attack(int(port), float(secs), kinds))))


if __name__ == "__main__":
    main()
