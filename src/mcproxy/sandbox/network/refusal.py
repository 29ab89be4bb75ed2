"""How a script is told that the egress proxy does not carry something, and what would be carried.

The reader is the model that wrote the script: a refusal names the rule and where it is configured.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from http import HTTPStatus

import h11

from mcproxy.sandbox.network.relay import HttpEnd
from mcproxy.sandbox.network.targets import Refused

PART_SECS = 1.0  # for a refused script to hear why

_MOST_NAMED = 10
_MOST_CHARS = 400
_ACCESS_DENIED = bytes((21, 3, 3, 0, 2, 2, 49))  # a fatal alert of TLS (RFC 8446, 6.2)


def rule(allowed: Sequence[str]) -> str:
    """What is allowed, in one sentence."""
    shown = ", ".join(allowed[:_MOST_NAMED])
    more = len(allowed) - _MOST_NAMED
    rest = f" and {more} more" if more > 0 else ""
    return f"Allowed are {shown}{rest} (sandbox.network.allowed_hosts)"


async def refuse(script: HttpEnd, refused: Refused, allowed: str) -> None:
    """Answer the request, unless an answer has begun. ``allowed`` is the rule to name."""
    if script.http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
        return
    said = refused.reason
    if refused.status == HTTPStatus.FORBIDDEN:
        said = f"{said}. {allowed}"
    said = "".join(char if char.isascii() and char.isprintable() else "?" for char in said)
    said = said[:_MOST_CHARS]
    body = f"Refused by the sandbox: {said}\n".encode()
    headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))]
    headers += [("Connection", "close")]
    if refused.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        headers += [("Proxy-Authenticate", 'Basic realm="sandbox"')]
    # The reason phrase too: of an answer to CONNECT, clients show nothing else.
    head = h11.Response(status_code=refused.status, headers=headers, reason=said.encode())
    await script.send(head)
    with contextlib.suppress(h11.LocalProtocolError):  # an answer to HEAD has no body
        await script.send(h11.Data(data=body))
        await script.send(h11.EndOfMessage())
    await _part(script)


async def refuse_tls(script: HttpEnd) -> None:
    """Within a tunnel: end the handshake with the alert that clients show as access denied."""
    script.stream.writer.write(_ACCESS_DENIED)
    await _part(script)


async def _part(script: HttpEnd) -> None:
    """Closing at once, while the script still sends, would destroy what it was told."""
    script.stream.writer.write_eof()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PART_SECS):
            await script.closed()
