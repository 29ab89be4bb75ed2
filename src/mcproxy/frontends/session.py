"""One client's session: its conversation, its streams, and what becomes of replies that it has yet
to fetch. Knows no HTTP."""

import asyncio
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from msgspec.structs import replace

from mcproxy.frontends.conversation import Conversation, ReplyTo
from mcproxy.frontends.responses import Answer
from mcproxy.frontends.stream import Stream
from mcproxy.gateway.request import RequestSource
from mcproxy.wire.message import Request

Kind = Literal["streamable", "sse"]

MAX_DIGITS = 18  # of an event's number; Python refuses to read numbers of thousands
HOME = "0"  # the stream for what belongs to no request


@dataclass(frozen=True, slots=True)
class Whose:
    """Whose a session is. ``owner`` is the caller's name: nobody else may use the session, whoever
    knows its id. ``share``: whose share of what the gateway can carry it takes."""

    kind: Kind
    source: RequestSource
    owner: str
    share: str


class Session:
    """``new_stream`` makes streams of that share, by name."""

    def __init__(
        self,
        id_: str,
        whose: Whose,
        conversation: Conversation,
        new_stream: Callable[[str], Stream],
    ) -> None:
        self.id = id_
        self.whose = whose
        self.conversation = conversation
        self.home = conversation.home
        self._new_stream = new_stream
        self.used = False
        self.last_use = 0.0
        self.version = ""
        self._names = itertools.count(1)
        self._streams = {HOME: self.home}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._leaving: dict[str, asyncio.TimerHandle] = {}

    @property
    def idle(self) -> bool:
        """Whether nothing is being answered and nobody listens."""
        return self.conversation.idle and not self.home.has_reader and not self._leaving

    @property
    def streams(self) -> Sequence[Stream]:
        """Its own, and those of replies that are kept."""
        return tuple(self._streams.values())

    def source_of(self, source: RequestSource) -> RequestSource:
        """A request of this session: it goes to the session's endpoint, for who sent it."""
        own = self.whose.source
        header = source.header or own.header
        return replace(own, caller=source.caller, header=header, admitted=source.admitted)

    def begin(self, request: Request, source: RequestSource, *, streams: bool) -> Answer:
        """Begin to answer a request, on a stream of its own; what is said before the reply goes to
        the home stream where the client reads the reply as one JSON text."""
        answer = Answer(self._new_stream(str(next(self._names))))
        name = answer.stream.name
        self._streams[name] = answer.stream
        way = ReplyTo(answer.stream if streams else self.home, answer.reply)
        task = self.conversation.start(request, source, way)
        if task:
            self._tasks[name] = task  # no longer than it runs: with it goes all of its request
            task.add_done_callback(lambda _: self._tasks.pop(name, None))
        return answer

    def cancel(self, stream: Stream) -> None:
        """Stop the request that the stream answers; nobody will come for the reply."""
        task = self._tasks.get(stream.name)
        if task:
            task.cancel()
        self.forget(stream)

    def forget(self, stream: Stream) -> None:
        """The stream cannot be resumed any more."""
        self._streams.pop(stream.name, None)

    def find(self, event_id: str) -> tuple[Stream, int] | None:
        """The stream and the number of its event with this id, if the stream is still kept."""
        name, _, number = event_id.partition("-")
        stream = self._streams.get(name)
        readable = number.isdecimal() and len(number) <= MAX_DIGITS
        return (stream, int(number)) if stream and readable else None

    def await_return(self, stream: Stream, secs: float) -> None:
        """The client lost a stream before its end; stop the request unless it comes back."""

        def check() -> None:
            del self._leaving[stream.name]
            self.cancel(stream)

        self.returned(stream)
        self._leaving[stream.name] = asyncio.get_running_loop().call_later(secs, check)

    def returned(self, stream: Stream) -> None:
        """The client reads the stream again."""
        timer = self._leaving.pop(stream.name, None)
        if timer:
            timer.cancel()

    def close(self) -> None:
        """Stop everything that the client asked for, and end its streams; the one that a request
        is being answered on ends with the request."""
        self.conversation.cancel_all()
        for timer in self._leaving.values():
            timer.cancel()
        for name, stream in self._streams.items():
            if name not in self._tasks:
                stream.end()
