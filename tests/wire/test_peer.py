"""A peer's conversation: replies find their request in any order, and every end is told."""

import asyncio
import traceback

import pytest

from mcproxy.errors import PeerClosed, RpcError
from mcproxy.wire.message import (
    Failure,
    Notification,
    Overlong,
    Request,
    RequestId,
    Response,
    decode,
)
from mcproxy.wire.peer import Peer


class Line:
    """A peer whose other end is this test."""

    def __init__(self) -> None:
        self.sent: list[Request] = []
        self.notes: list[Notification] = []
        self.heard: list[Request | Notification] = []
        self.some = asyncio.Event()
        self.late: list[RequestId] = []
        self.peer = Peer(
            self._post,
            self._room,
            on_message=lambda message, _: self.heard.append(message),
            on_abandon=_gone,
            on_late=self.late.append,
        )

    def _post(self, data: bytes) -> None:
        message = decode(data)
        if isinstance(message, Request):
            self.sent.append(message)
            self.some.set()
        elif isinstance(message, Notification):
            self.notes.append(message)

    async def _room(self) -> None:
        """Nobody is slow here."""

    async def until_sent(self, count: int) -> None:
        async with asyncio.timeout(5):
            while len(self.sent) < count:
                self.some.clear()
                await self.some.wait()


def _gone(id_: RequestId) -> Notification:
    return Notification("gone", str(id_).encode())


async def test_replies_out_of_order_twice_and_unknown() -> None:
    line = Line()
    async with asyncio.TaskGroup() as tasks:
        calls = [tasks.create_task(line.peer.request("m")) for _ in range(3)]
        await line.until_sent(3)
        line.peer.receive(Response(999, b'"nobody asked"'))
        for request in reversed(line.sent):
            line.peer.receive(Response(request.id, str(request.id).encode()))
            line.peer.receive(Response(request.id, b'"again"'))
    assert [call.result() for call in calls] == [b"1", b"2", b"3"]


async def test_an_id_given_back_as_text_is_found() -> None:
    line = Line()
    async with asyncio.TaskGroup() as tasks:
        call = tasks.create_task(line.peer.request("m"))
        await line.until_sent(1)
        line.peer.receive(Response(str(line.sent[0].id), b"1"))
    assert call.result() == b"1"


async def test_an_error_reply_is_raised() -> None:
    line = Line()
    async with asyncio.TaskGroup() as tasks:
        call = tasks.create_task(_error_of(line.peer))
        await line.until_sent(1)
        line.peer.receive(Failure(1, RpcError(-5, "no")))
    assert isinstance(call.result(), RpcError)


async def test_a_caller_that_gives_up_is_told_to_the_other_end() -> None:
    line = Line()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await line.peer.request("m")
    assert line.notes == [Notification("gone", b"1")]
    line.peer.receive(Response("1", b'"late"'))
    assert line.late == [1]


async def test_an_end_is_raised_as_a_new_exception_each_time() -> None:
    line = Line()
    line.peer.close("it died")
    lengths = []
    for _ in range(3):
        error = await _error_of(line.peer)
        lengths.append(len(traceback.extract_tb(error.__traceback__)))
    assert lengths == lengths[:1] * 3


async def test_closing_fails_what_waits_and_what_comes() -> None:
    line = Line()
    async with asyncio.TaskGroup() as tasks:
        call = tasks.create_task(_error_of(line.peer))
        await line.until_sent(1)
        line.peer.close("it died")
    assert str(call.result()) == "it died"
    with pytest.raises(PeerClosed, match="it died"):
        await line.peer.request("m")


async def test_an_overlong_reply_fails_its_own_request_only() -> None:
    line = Line()
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(line.peer.request("m"))
        second = tasks.create_task(_error_of(line.peer))
        await line.until_sent(2)
        line.peer.receive_overlong(Overlong(20_000_000, b'{"jsonrpc":"2.0","id":2,"resul'), 10)
        line.peer.receive(Response(1, b"1"))
    assert first.result() == b"1"
    assert "20000000 bytes" in str(second.result())


async def _error_of(peer: Peer) -> Exception:
    with pytest.raises((RpcError, PeerClosed)) as caught:
        await peer.request("m")
    return caught.value
