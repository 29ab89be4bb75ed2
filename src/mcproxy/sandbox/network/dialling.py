"""Connect to a host by its name: resolve once, check every address, dial a checked one.

There is no second look-up between check and connection, so an answer that changes (DNS rebinding)
gains nothing. How names are resolved and addresses dialled is passed in; the real ones are here.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from mcproxy.sandbox.network.addresses import is_public
from mcproxy.sandbox.network.relay import Stream
from mcproxy.sandbox.network.targets import Refused, Target

RESOLVE_SECS = 5.0
DIAL_SECS = 5.0  # for each address
MOST_DIALLED = 3  # addresses tried before giving up


async def resolve(host: str, port: int) -> Sequence[str]:
    """The addresses of ``host``, best first, as this machine sees them. Raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


async def dial(address: str, port: int) -> Stream:
    """A TCP connection. Raises OSError."""
    return Stream(*await asyncio.open_connection(address, port))


@dataclass(frozen=True, slots=True)
class Net:
    """The way to the outside."""

    resolve: Callable[[str, int], Awaitable[Sequence[str]]] = resolve
    dial: Callable[[str, int], Awaitable[Stream]] = dial


async def connect(net: Net, target: Target) -> Stream:
    """A connection to a public address of ``target``. Raises Refused."""
    addresses = await _public_addresses(net, target)
    problem = "it has no address"
    for address in addresses[:MOST_DIALLED]:
        try:
            async with asyncio.timeout(DIAL_SECS):
                return await net.dial(address, target.port)
        except OSError as error:
            problem = error.strerror or "no answer in time"
    raise Refused(502, f"cannot connect to {target.host}: {problem}")


async def _public_addresses(net: Net, target: Target) -> Sequence[str]:
    try:
        async with asyncio.timeout(RESOLVE_SECS):
            addresses = await net.resolve(target.host, target.port)
    except (OSError, UnicodeError) as error:
        raise Refused(502, f"cannot resolve {target.host}: {error}") from error
    if not all(map(is_public, addresses)):
        raise Refused(403, f"{target.host} has an address that is not public")
    return addresses
