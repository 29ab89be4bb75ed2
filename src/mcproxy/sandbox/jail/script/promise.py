"""Calls under way: ``Promise`` is one of them, ``Calls`` the table of all.

A promise is sent once, when it is made. It belongs to no event loop: it can be awaited in any,
twice, or waited for by blocking, also from another thread. Whoever reads the socket (a blocking
caller or an event loop) delivers what arrives to every promise, so that calls overlap.

Replies are kept as bytes until somebody asks for the value: a reply that cannot be decoded is
then an error of the one who asked.
"""

import asyncio
import contextlib
import json
import re
import sys
import threading
from collections.abc import Callable, Generator, Iterator

from mcproxy.sandbox.jail.channel import Channel
from mcproxy.sandbox.jail.script.value import Json, unwrap

SCRIPT = "<script>"
_LIKE_ERROR = re.compile(
    r"\s*(?:(?:error|fatal|exception)\b[^\n:]{0,40}:|Traceback \(most|HTTP [45]\d\d\b)",
    re.IGNORECASE,
)
_MAX_ERROR_CHARS = 2000  # a longer text has an error in it, and is none
_SHOWN_CHARS = 80
_REPLY = re.compile(rb'\{"t":"reply","id":(\d+),"(result|perhaps_wrapped|wrapped|error)":')


class ToolError(Exception):
    """A tool call failed. ``retryable``: the same call may succeed later without a change;
    ``retry_after`` is in seconds, None where nothing is known; ``line`` is where the script made
    the call."""

    __module__ = "builtins"  # so that a traceback names it as the script does

    def __init__(self, message: str = "", **facts: object) -> None:
        super().__init__(message)
        self.message = message
        self.server = str(facts.get("server", ""))
        self.tool = str(facts.get("tool", ""))
        self.code = str(facts.get("code", "tool_error"))
        self.retryable = facts.get("retryable") is True
        after = facts.get("retry_after")
        self.retry_after = float(after) if isinstance(after, int | float) else None
        self.line: int | None = None


class Promise:
    """The value of a call that has been sent and may not have been answered yet."""

    def __init__(self, calls: "Calls", name: str, *, raw: bool = False) -> None:
        self._calls = calls
        self._name = name
        self._raw = raw
        self._reply: tuple[str, bytes] | None = None  # (kind, body)
        self._outcome: tuple[Json, ToolError | None] | None = None
        self.waiters: list[asyncio.Future[None]] = []
        self.line = _script_line()
        self.heeded = False  # somebody has asked for the value, or has given up waiting for it

    def __await__(self) -> Generator[object, None, Json]:
        if self._reply is None:
            waiter = self._calls.watch(self)
            try:
                yield from waiter
            except asyncio.CancelledError:
                self.heeded = True
                raise
        return self.result()

    def result(self) -> Json:
        """The value; blocks until it is there. Raises ``ToolError`` if the call failed."""
        self.heeded = True
        if self._reply is None:
            self._calls.wait(self)
        value, error = self._settled()
        if error is not None:
            raise error.with_traceback(None)
        return value

    def done(self) -> bool:
        """Whether the reply has arrived."""
        return self._reply is not None

    def failure(self) -> ToolError | None:
        """Why the call failed, for those who only look. None while it is under way."""
        return self._settled()[1] if self._reply is not None else None

    def settle(self, kind: str, body: bytes) -> None:
        """Take the reply; ``kind`` is how its frame names the body."""
        self._reply = (kind, body)

    def _settled(self) -> tuple[Json, ToolError | None]:
        if self._outcome is None and self._reply is not None:
            value, error = self._outcome = _decoded(*self._reply, raw=self._raw)
            if error is not None:
                error.line = self.line
            elif words := _error_in(value):
                at = f"line {self.line}: " if self.line else ""
                self._calls.note(f"{at}{self._name} gave a value that reads like an error: {words}")
            self._reply = (self._reply[0], b"")
        return self._outcome or (None, None)

    # A promise that is used as if it were its value: the rewriting took the wrong side. Blocking
    # for the value is what the script meant.

    def __getitem__(self, key: object) -> object:
        return self.result()[key]  # type: ignore[index,call-overload]

    def __len__(self) -> int:
        return len(self.result())  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[object]:
        return iter(self.result())  # type: ignore[arg-type]

    def __contains__(self, item: object) -> bool:
        return item in self.result()  # type: ignore[operator]

    def __bool__(self) -> bool:
        return bool(self.result())

    def __str__(self) -> str:
        return str(self.result())

    def __getattr__(self, name: str) -> object:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.result(), name)


def _decoded(kind: str, body: bytes, *, raw: bool) -> tuple[Json, ToolError | None]:
    try:
        content: Json = json.loads(body.decode(errors="surrogatepass"))
    except RecursionError:
        return None, ToolError("The value is nested too deeply to be read.", code="too_large")
    except ValueError as error:
        return None, ToolError(f"The server sent invalid JSON: {error}", code="upstream_error")
    if kind == "error" and isinstance(content, dict):
        message = str(content.pop("message", ""))
        return None, ToolError(message, **content)
    return (content if raw else unwrap(content, kind)), None


def _error_in(value: Json) -> str:
    """The words of a value that is a server's error in all but name."""
    said = value.get("error") if isinstance(value, dict) and len(value) <= 2 else value
    if not isinstance(said, str) or len(said) > _MAX_ERROR_CHARS:
        return ""
    return said[:_SHOWN_CHARS] if said is not value or _LIKE_ERROR.match(said) else ""


def _script_line() -> int | None:
    """The line of the script that is making this call: an error that surfaces later names it."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename != SCRIPT:
        frame = frame.f_back
    return frame.f_lineno if frame.f_code.co_filename == SCRIPT else None


class Calls:
    """Every call of one script, by id; ``sent`` counts them, ``note`` takes what is to be said of
    their values. Safe to use from several threads."""

    def __init__(self, channel: Channel, note: Callable[[str], None]) -> None:
        self._channel = channel
        self.note = note
        self._turn = threading.Condition()
        self._reading = False  # one thread reads the socket for all
        self.sent = 0
        self._pending: dict[int, Promise] = {}
        self._failed: list[Promise] = []

    def start(
        self,
        server: str,
        tool: str,
        args: bytes,
        *,
        raw: bool = False,
        text: tuple[str, bytes] | None = None,
    ) -> Promise:
        """Send a call, its arguments being a JSON object, and give its promise. ``text`` is one
        more argument, by name, which goes in a frame of its own."""
        promise = Promise(self, f"{server}.{tool}", raw=raw)
        with self._turn:
            self.sent += 1
            number = self.sent
            self._pending[number] = promise
        facts: dict[str, Json] = {"t": "call", "id": number, "server": server, "tool": tool}
        facts["line"] = promise.line
        follows: tuple[bytes, ...] = ()
        if text:
            facts["text"], follows = text[0], (text[1],)
        head = json.dumps(facts)
        self._channel.send(b'%b,"args":%b}' % (head[:-1].encode(), args), *follows)
        return promise

    def oldest_line(self) -> int | None:
        """The line of the call that has been under way for the longest."""
        return next((promise.line for promise in list(self._pending.values())), None)

    def wait(self, promise: Promise) -> None:
        """Block until the reply is there."""
        with self._turn:
            while not promise.done():
                if self._reading:
                    self._turn.wait()
                else:
                    self._read()

    def watch(self, promise: Promise) -> "asyncio.Future[None]":
        """A future of the running loop that ends when the reply is there."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        with self._turn:
            if promise.done():
                waiter.set_result(None)
            else:
                promise.waiters.append(waiter)
                loop.add_reader(self._channel.fileno(), self._poll)
        return waiter

    def drain(self) -> Promise | None:
        """Wait for every call that somebody may still care for; the first unheeded failure."""
        for promise in list(self._pending.values()):
            if not promise.heeded:
                self.wait(promise)
        return next((p for p in self._failed if not p.heeded), None)

    def _read(self) -> None:
        """Read for all threads, without holding the lock. Called with the lock held."""
        self._reading = True
        self._turn.release()
        frames: list[bytes] = []
        try:
            frames = self._channel.read()
        finally:
            self._turn.acquire()
            self._reading = False
            self._deliver(frames)
            self._turn.notify_all()

    def _poll(self) -> None:
        with self._turn:
            if not self._reading:
                self._deliver(self._channel.poll())
                self._turn.notify_all()

    def _deliver(self, frames: list[bytes]) -> None:
        for frame in frames:
            head = _REPLY.match(frame)
            promise = self._pending.pop(int(head[1]), None) if head else None
            if head is None or promise is None:
                continue
            promise.settle(head[2].decode(), frame[head.end() : -1])
            if head[2] == b"error":
                self._failed.append(promise)
            for waiter in promise.waiters:
                _wake(waiter)


def _wake(waiter: "asyncio.Future[None]") -> None:
    loop = waiter.get_loop()
    with contextlib.suppress(RuntimeError):  # that loop has been closed: nobody waits any more
        if asyncio._get_running_loop() is loop:
            _finish(waiter)
        else:
            loop.call_soon_threadsafe(_finish, waiter)


def _finish(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)
