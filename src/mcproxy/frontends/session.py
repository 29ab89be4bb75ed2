"""One client's session: its conversation, its streams, and what becomes of replies that it has yet
to fetch. Knows no HTTP."""

import asyncio
import itertools
from collections.abc import Callable
from typing import Literal

from mcproxy.frontends.conversation import Conversation
from mcproxy.frontends.stream import Stream
from mcproxy.gateway.core import Where

Kind = Literal["streamable", "sse"]

HOME = "0"  # the stream for what belongs to no request


class Session:
    """``owner`` is the caller's name: nobody else may use the session, whoever knows its id."""

    def __init__(
        self, id_: str, kind: Kind, where: Where, owner: str, conversation: Conversation
    ) -> None:
        self.id = id_
        self.kind = kind
        self.where = where
        self.owner = owner
        self.conversation = conversation
        self.home = conversation.home
        self.used = False
        self.last_use = 0.0
        self._names = itertools.count(1)
        self._streams = {HOME: self.home}
        self._leaving: dict[str, asyncio.TimerHandle] = {}

    @property
    def idle(self) -> bool:
        """Whether nothing is being answered and nobody listens."""
        return self.conversation.idle and not self.home.has_reader and not self._leaving

    def open_stream(self) -> Stream:
        """A stream for the answer of one request."""
        stream = Stream(str(next(self._names)))
        self._streams[stream.name] = stream
        return stream

    def forget(self, name: str) -> None:
        """The stream cannot be resumed any more."""
        self._streams.pop(name, None)

    def find(self, event_id: str) -> tuple[Stream, int] | None:
        """The stream and the number of its event with this id, if the stream is still kept."""
        name, _, number = event_id.partition("-")
        stream = self._streams.get(name)
        return (stream, int(number)) if stream and number.isdecimal() else None

    def await_return(self, stream: Stream, secs: float, give_up: Callable[[], None]) -> None:
        """The client lost a stream before its end; call ``give_up`` unless it comes back."""

        def check() -> None:
            self._leaving.pop(stream.name, None)
            self.forget(stream.name)
            give_up()

        self.returned(stream)
        self._leaving[stream.name] = asyncio.get_running_loop().call_later(secs, check)

    def returned(self, stream: Stream) -> None:
        """The client reads the stream again."""
        timer = self._leaving.pop(stream.name, None)
        if timer:
            timer.cancel()

    def close(self) -> None:
        """Stop everything that the client asked for, and end its streams."""
        self.conversation.cancel_all()
        for timer in self._leaving.values():
            timer.cancel()
        for stream in self._streams.values():
            stream.end()
