"""What a session over Streamable HTTP carries from request to request in the handshake era. Pure.

The stateless era has nothing of it: there each request says everything itself, see
``routing_headers``.
"""

import re
from dataclasses import dataclass

import httpx
import msgspec

from mcproxy import mcp
from mcproxy.wire.message import UNREADABLE, Notification

INITIALIZED = Notification(mcp.INITIALIZED)
FIRST_VERSION = "2025-03-26"  # of Streamable HTTP

_VISIBLE = re.compile(r"[!-~]+")  # what a session id may consist of; sent back in a header


@dataclass(frozen=True, slots=True)
class Agreed:
    """What ``initialize`` agreed on; ``session_id`` is empty where the server keeps no session."""

    session_id: str
    version: str


class _Initialized(msgspec.Struct):
    protocolVersion: str = FIRST_VERSION


def agreed_in(response: httpx.Response, result: bytes) -> Agreed:
    """What the reply to ``initialize`` agrees on."""
    try:
        version = msgspec.json.decode(result, type=_Initialized).protocolVersion
    except UNREADABLE:
        version = ""
    session_id = response.headers.get(mcp.SESSION_HEADER, "")
    return Agreed(
        session_id if _VISIBLE.fullmatch(session_id) else "",
        version if _VISIBLE.fullmatch(version) else FIRST_VERSION,
    )


def headers_of(agreed: Agreed | None) -> dict[str, str]:
    """The headers of a request; None before, and outside, the handshake era."""
    headers = {
        "Accept": "application/json, text/event-stream",
        "Content-Type": "application/json",
    }
    if agreed:
        headers[mcp.VERSION_HEADER] = agreed.version
    if agreed and agreed.session_id:
        headers[mcp.SESSION_HEADER] = agreed.session_id
    return headers
