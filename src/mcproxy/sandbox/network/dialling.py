"""Connect to a host by its name: resolve once, check every address, dial a checked one; and what
the network use of one execution is bounded by.

There is no second look-up between check and connection, so an answer that changes (DNS rebinding)
gains nothing. How names are resolved and addresses dialled is passed in; the real ones are here.
Time needs no bound of its own: connections end with their execution.
"""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence

import msgspec

from mcproxy.addresses import is_public
from mcproxy.sandbox.network.relay import ByteStream
from mcproxy.sandbox.network.targets import Refused, Target

RESOLVE_SECS = 5.0  # also for the wait until a thread is free
DIAL_SECS = 5.0  # for each address
MOST_DIALLED = 3  # addresses tried before giving up
THREADS = 8  # look-ups at once; each may hang for as long as the machine's resolver waits
SHARE = 2  # of these for one execution: names that never resolve must not keep others out


def look_up(host: str, port: int) -> Sequence[str]:
    """The addresses of ``host``, best first, as this machine sees them; blocks. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


async def dial(address: str, port: int) -> ByteStream:
    """A TCP connection. Raises OSError."""
    return ByteStream(*await asyncio.open_connection(address, port))


class Net(msgspec.Struct, frozen=True):
    """The way to the outside."""

    look_up: Callable[[str, int], Sequence[str]] = look_up
    dial: Callable[[str, int], Awaitable[ByteStream]] = dial


class Resolver:
    """Looks names up in threads of its own, which nothing else in the program waits for.

    A look-up cannot be stopped: its thread, and its part of the share, come back when it has ended.
    """

    def __init__(self, net: Net, threads: int = THREADS) -> None:
        self._look_up = net.look_up
        self._free = asyncio.Semaphore(threads)

    async def addresses(self, host: str, port: int, share: asyncio.Semaphore) -> Sequence[str]:
        """The addresses of ``host``; ``share`` is the execution's. Raises OSError, ValueError."""
        async with contextlib.AsyncExitStack() as places:
            for place in (share, self._free):
                await places.enter_async_context(place)
            found = self._in_thread(host, port, share)
            places.pop_all()  # the thread gives them back
        return await found

    def _in_thread(
        self, host: str, port: int, share: asyncio.Semaphore
    ) -> asyncio.Future[Sequence[str]]:
        loop = asyncio.get_running_loop()
        found: asyncio.Future[Sequence[str]] = loop.create_future()

        def done(result: Sequence[str] | OSError | ValueError) -> None:
            share.release()
            self._free.release()
            if found.done():
                return  # nobody waits any more
            if isinstance(result, Exception):
                found.set_exception(result)
            else:
                found.set_result(result)

        def work() -> None:
            result: Sequence[str] | OSError | ValueError
            try:
                result = self._look_up(host, port)
            except (OSError, ValueError) as error:
                result = error
            with contextlib.suppress(RuntimeError):  # the loop has ended before
                loop.call_soon_threadsafe(done, result)

        # A daemon: the program's end does not wait for a resolver that hangs.
        threading.Thread(target=work, name="look-up", daemon=True).start()
        return found


async def connect(
    net: Net, resolver: Resolver, target: Target, share: asyncio.Semaphore
) -> ByteStream:
    """A connection to a public address of ``target``, for the execution whose ``share`` of look-ups
    it is. Raises Refused."""
    addresses = await _public_addresses(resolver, target, share)
    problem = "it has no address"
    for address in addresses[:MOST_DIALLED]:
        try:
            async with asyncio.timeout(DIAL_SECS):
                return await net.dial(address, target.port)
        except OSError as error:
            problem = error.strerror or "no answer in time"
    raise Refused(502, f"cannot connect to {target.host}: {problem}")


async def _public_addresses(
    resolver: Resolver, target: Target, share: asyncio.Semaphore
) -> Sequence[str]:
    try:
        async with asyncio.timeout(RESOLVE_SECS):
            addresses = await resolver.addresses(target.host, target.port, share)
    except (OSError, ValueError) as error:
        raise Refused(502, f"cannot resolve {target.host}: {error}") from error
    if not all(map(is_public, addresses)):
        raise Refused(403, f"{target.host} has an address that is not public")
    return addresses


class Caps(msgspec.Struct, frozen=True):
    """Per execution. ``at_once`` is above what ``Limits.open_files`` lets a script have;
    ``moved_bytes`` counts both directions."""

    connections: int = 200
    at_once: int = 32
    moved_bytes: int = 256 << 20


class EgressBudget:
    """What is left for one execution, and its open connections; ``look_ups``: how many of names may
    be under way."""

    def __init__(self, caps: Caps) -> None:
        self._caps = caps
        self._connections = caps.connections
        self._bytes = caps.moved_bytes
        self.look_ups = asyncio.Semaphore(SHARE)
        self._tasks: set[asyncio.Task[object]] = set()

    @contextlib.contextmanager
    def connection(self) -> Iterator[None]:
        """Count the running task as one connection, ended by ``close``. Raises Refused."""
        if not self._connections:
            raise Refused(429, f"a script may open {self._caps.connections} connections")
        if len(self._tasks) >= self._caps.at_once:
            raise Refused(429, f"a script may have {self._caps.at_once} connections at once")
        self._connections -= 1
        task = asyncio.current_task()
        assert task  # noqa: S101 - a coroutine of this loop
        self._tasks.add(task)
        try:
            yield
        finally:
            self._tasks.discard(task)

    def spend(self, count: int) -> None:
        """Count bytes that were moved. Raises Refused."""
        self._bytes -= count
        if self._bytes < 0:
            raise Refused(429, f"a script may move {self._caps.moved_bytes} bytes")

    def close(self) -> None:
        """The execution has ended: so do its connections."""
        for task in self._tasks:
            task.cancel()
