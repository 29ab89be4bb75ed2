"""An upstream for tests whose calls overlap: what it asks and says while two are under way.

Standard library only, of the handshake era. Run as ``sys.executable overlapping.py`` it speaks
stdio; with ``--http`` Streamable HTTP, with ``--sse`` HTTP+SSE: then it prints its URL, and ends
with the end of its input.

One tool, ``meet``: its call (or a request of ``MEETING`` with the same ``arguments``) waits until
the call of ``other`` is under way too (``folder`` is where they tell each other, so that they may
be in two processes), then does what ``kind`` says on behalf of ``me``, and is answered once the
other has done so too. Kinds: ``elicitation``, ``sampling``, ``roots``, ``url`` (an elicitation, and
the word that it is complete); their answer is the result's text; ``log``, ``progress``, ``forged``
(progress with the other's token). Several kinds are done in turn; ``|`` is between their answers.
Over Streamable HTTP what it sends goes to the stream of the call's POST; with ``aside``, to the GET
stream, which names no call.
"""

import itertools
import json
import queue
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TypeAlias
from urllib.parse import parse_qs, urlsplit

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
JsonObject: TypeAlias = "dict[str, Json]"
Say: TypeAlias = Callable[[JsonObject], None]

WAIT_SECS = 20.0
LOOK_SECS = 0.01
SESSION = "Mcp-Session-Id"
INITIALIZED: JsonObject = {
    "protocolVersion": "2025-11-25",
    "capabilities": {"tools": {}, "logging": {}},
    "serverInfo": {"name": "overlapping", "version": "1"},
}
MEETING = ("tools/call", "prompts/get", "resources/read", "completion/complete")
TOOL: JsonObject = {"name": "meet", "inputSchema": {"type": "object"}}
FORM: JsonObject = {"type": "object", "properties": {"name": {"type": "string"}}}


class Overlapping:
    """The server: the questions that are open, and the progress token of each call by its name."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._open: dict[Json, queue.Queue[JsonObject]] = {}
        self._tokens: dict[str, Json] = {}

    def receive(self, message: JsonObject, say: Say, aside: Say) -> None:
        """Answer one message with ``say``; returns when it is answered."""
        method, id_ = message.get("method"), message.get("id")
        params = _object(message.get("params"))
        if method is None:
            if waiting := self._open.get(id_):
                waiting.put(message)
        elif method in MEETING:
            given = _object(params.get("arguments"))
            token = _object(params.get("_meta")).get("progressToken")
            text = self._meet(given, token, aside if given.get("aside") else say)
            say({"id": id_, "result": {"content": [{"type": "text", "text": text}]}})
        elif id_ is not None:
            results: dict[Json, JsonObject] = {
                "initialize": INITIALIZED,
                "ping": {},
                "logging/setLevel": {},
                "tools/list": {"tools": [TOOL]},
            }
            unknown: JsonObject = {"code": -32601, "message": f"Method not found: {method}"}
            known = results.get(method)
            say({"id": id_, **({"error": unknown} if known is None else {"result": known})})

    def _meet(self, given: JsonObject, token: Json, say: Say) -> str:
        me, other, kinds = (str(given[name]) for name in ("me", "other", "kind"))
        folder = Path(str(given["folder"]))
        self._tokens[me] = token
        answers = []
        _await(folder, me, other)
        for kind in kinds.split():
            answers.append(self._do(kind, me, other, say))
            _await(folder, f"{me} {kind} is done", f"{other} {kind} is done")
        return " | ".join(answers)

    def _do(self, kind: str, me: str, other: str, say: Say) -> str:
        match kind:
            case "elicitation":
                return self._ask(
                    say, "elicitation/create", {"message": me, "requestedSchema": FORM}
                )
            case "sampling":
                said: JsonObject = {"role": "user", "content": {"type": "text", "text": me}}
                return self._ask(
                    say, "sampling/createMessage", {"messages": [said], "maxTokens": 9}
                )
            case "roots":
                return self._ask(say, "roots/list", {})
            case "url":
                page: JsonObject = {"mode": "url", "url": "https://pay.example", "message": me}
                answer = self._ask(say, "elicitation/create", {**page, "elicitationId": me})
                say(_note("elicitation/complete", {"elicitationId": me}))
                return answer
            case "log":
                say(_note("message", {"level": "error", "data": me}))
            case _:
                whose = self._tokens.get(me if kind == "progress" else other)
                say(_note("progress", {"progressToken": whose, "progress": 1, "message": me}))
        return kind

    def _ask(self, say: Say, method: str, params: JsonObject) -> str:
        id_ = f"question-{next(self._numbers)}"
        self._open[id_] = queue.Queue()
        say({"id": id_, "method": method, "params": params})
        answer = self._open[id_].get(timeout=WAIT_SECS)
        return json.dumps(answer.get("result", answer.get("error")))


def _await(folder: Path, mine: str, others: str) -> None:
    """Tell that one has come so far, and wait until the other has."""
    (folder / mine).touch()
    until = time.monotonic() + WAIT_SECS
    while not (folder / others).exists():
        if time.monotonic() > until:
            raise TimeoutError(others)
        time.sleep(LOOK_SECS)


def _note(name: str, params: JsonObject) -> JsonObject:
    return {"method": f"notifications/{name}", "params": params}


def _object(value: Json) -> JsonObject:
    return value if isinstance(value, dict) else {}


def _unsaid(message: JsonObject) -> None:
    """What needs no answer has none."""


def _data(message: JsonObject) -> bytes:
    return json.dumps({"jsonrpc": "2.0", **message}).encode()


server = Overlapping()
streams: "dict[str, queue.Queue[JsonObject]]" = {}
numbers = itertools.count(1)


class Handler(BaseHTTPRequestHandler):
    """Both transports over HTTP; a session is the queue of its stream. HTTP/1.0: a response ends
    with its connection."""

    def do_GET(self) -> None:
        """The stream of a session; with HTTP+SSE it begins the session."""
        self._begin({"Content-Type": "text/event-stream"})
        session = self.headers.get(SESSION)
        if session is None:
            session = f"s{next(numbers)}"
            streams[session] = queue.Queue()
            self.wfile.write(b"event: endpoint\ndata: /message?session=%b\n\n" % session.encode())
            self.wfile.flush()
        while True:
            self._event(streams[session].get())

    def do_POST(self) -> None:
        """One message."""
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked = parse_qs(urlsplit(self.path).query).get("session")
        if asked:
            self._begin({"Content-Length": "0"}, 202)
            self.close_connection = True
            stream = streams[asked[0]]
            work = threading.Thread(
                target=server.receive, args=(message, stream.put, stream.put), daemon=True
            )
            work.start()
            return
        session = self.headers.get(SESSION)
        headers = {"Content-Type": "text/event-stream"}
        if message.get("method") == "initialize":
            session = headers[SESSION] = f"s{next(numbers)}"
            streams[session] = queue.Queue()
        if "id" not in message or "method" not in message:
            server.receive(message, _unsaid, _unsaid)
            self._begin({"Content-Length": "0"}, 202)
            return
        self._begin(headers)
        aside = streams[session].put if session else self._event
        server.receive(message, self._event, aside)

    def do_DELETE(self) -> None:
        """The end of a session."""
        self._begin({"Content-Length": "0"})

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""

    def _begin(self, headers: "dict[str, str]", status: int = 200) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.flush()

    def _event(self, message: JsonObject) -> None:
        self.wfile.write(b"data: %b\n\n" % _data(message))
        self.wfile.flush()


def _serve_http(path: str) -> None:
    ThreadingHTTPServer.daemon_threads = True
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        sys.stdout.write(f"http://127.0.0.1:{http.server_port}{path}\n")
        sys.stdout.flush()
        sys.stdin.read()
        http.shutdown()


def _serve_stdio() -> None:
    lock = threading.Lock()

    def say(message: JsonObject) -> None:
        with lock:
            sys.stdout.buffer.write(_data(message) + b"\n")
            sys.stdout.flush()

    for line in sys.stdin.buffer:
        work = threading.Thread(
            target=server.receive, args=(json.loads(line), say, say), daemon=True
        )
        work.start()


if __name__ == "__main__":
    if "--http" in sys.argv:
        _serve_http("/mcp")
    elif "--sse" in sys.argv:
        _serve_http("/sse")
    else:
        _serve_stdio()
