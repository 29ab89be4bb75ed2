"""The gateway's end of a worker's socket."""

import asyncio
import socket

import pytest

from mcproxy.sandbox.frames import WorkerLine


def lines() -> tuple[WorkerLine, socket.socket]:
    ours, theirs = socket.socketpair()
    return WorkerLine(ours), theirs


async def test_what_nobody_waits_for_stays_until_somebody_does() -> None:
    line, theirs = lines()
    with theirs:
        theirs.send(b"a")
        assert await line.receive(1) == b"a"
        theirs.send(b"bc")
        for _ in range(3):
            await asyncio.sleep(0)  # it is seen, and left where it is
        assert await line.receive(1) == b"b"
        assert await line.receive(10) == b"c"
    line.close()


async def test_a_wait_that_is_given_up_takes_nothing() -> None:
    line, theirs = lines()
    with theirs:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await line.receive(1)
        theirs.send(b"a")
        assert await line.receive(1) == b"a"
    line.close()


async def test_the_end_is_no_bytes_as_often_as_it_is_asked_for() -> None:
    line, theirs = lines()
    theirs.close()
    assert await line.receive(1) == b""
    assert await line.receive(1) == b""
    line.close()
    line.close()


async def test_whoever_waits_is_told_that_it_is_over() -> None:
    line, theirs = lines()
    with theirs:
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(line.receive(1))
            await asyncio.sleep(0)
            line.shut_down()
        assert waiting.result() == b""
    line.close()


async def test_a_connection_that_breaks_is_an_error() -> None:
    server = socket.create_server(("127.0.0.1", 0))
    theirs = socket.create_connection(server.getsockname())
    ours, _ = server.accept()
    line = WorkerLine(ours)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    theirs.close()
    server.close()
    with pytest.raises(OSError, match="reset"):
        await line.receive(1)
    line.close()
