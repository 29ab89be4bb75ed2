"""What the gateway is measured against, in the same run: what HTTP, a server's pipe and a process
cost by themselves, and the least program that joins the first two.
"""

import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import Sequence

ROUNDS = 300

BARE = """
import sys, uvicorn
BODY = b'{"jsonrpc":"2.0","id":1,"result":{}}'
HEAD = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(BODY))]
async def app(scope, receive, send):
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": HEAD})
    await send({"type": "http.response.body", "body": BODY})
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error", access_log=False,
            lifespan="off", loop="uvloop", http="httptools")
"""
"""An ASGI application that knows its answer, on a usual server."""

LEAST = """
import asyncio, itertools, json, sys, httptools, uvloop
HEAD = b"HTTP/1.1 200 OK\\r\\ncontent-type: application/json\\r\\ncontent-length: %d\\r\\n\\r\\n"
class Http(asyncio.Protocol):
    def __init__(self, ask): self.ask, self.body = ask, b""
    def connection_made(self, transport):
        self.transport, self.parser = transport, httptools.HttpRequestParser(self)
    def data_received(self, data): self.parser.feed_data(data)
    def on_body(self, body): self.body += body
    def on_message_complete(self):
        message, self.body = json.loads(self.body), b""
        self.ask(message, self.answer)
    def answer(self, reply):
        self.transport.write(HEAD % len(reply) + reply)
async def main(port, *command):
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    ids, waiting = itertools.count(1), {}
    def ask(message, answer):
        waiting[id_ := next(ids)] = (answer, message["id"])
        if message["method"] == "tools/call":
            message["params"]["name"] = message["params"]["name"].partition("__")[2]
        child.stdin.write(json.dumps({**message, "id": id_}).encode() + b"\\n")
    loop = asyncio.get_running_loop()
    await loop.create_server(lambda: Http(ask), "127.0.0.1", int(port))
    while line := await child.stdout.readline():
        reply = json.loads(line)
        if found := waiting.pop(reply.get("id"), None):
            found[0](json.dumps({**reply, "id": found[1]}).encode())
uvloop.run(main(*sys.argv[1:]))
"""
"""HTTP on one side, a server's pipe on the other: no check, no limit, no session, one server."""


async def pipe_ms(command: Sequence[str]) -> float:
    """The median of a call over a server's pipe."""
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    assert child.stdin
    assert child.stdout
    params = {"name": "add", "arguments": {"a": 1, "b": 2}}
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    line = json.dumps(call).encode() + b"\n"
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        child.stdin.write(line)
        await child.stdout.readline()
        times.append(time.perf_counter() - started)
    child.stdin.close()
    await child.wait()
    return statistics.median(times) * 1000


def fork_ms() -> float:
    """The median of a fork of this process, to the end of a child that does nothing."""
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        child = os.fork()
        if not child:
            os._exit(0)
        os.waitpid(child, 0)
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1000


def least(port: int, command: Sequence[str]) -> Sequence[str]:
    """The command of the least gateway in front of a server."""
    return (sys.executable, "-c", LEAST, str(port), *command)


def bare(port: int) -> Sequence[str]:
    """The command of the bare application."""
    return (sys.executable, "-c", BARE, str(port))
