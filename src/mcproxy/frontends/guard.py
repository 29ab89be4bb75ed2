"""Protection against DNS rebinding: whose ``Host`` and ``Origin`` a loopback bind accepts. Pure.

MCP, basic/transports, "Security Warning": servers must validate ``Origin``. A page that a browser
loaded from anywhere can reach a server on this machine; it cannot choose these headers.
"""

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


def is_loopback(host: str) -> bool:
    """Whether an address or name means this machine only."""
    if host in LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def refusal(host: str | None, origin: str | None, allowed_origins: Collection[str]) -> str | None:
    """Why a request to a loopback bind is refused, None when it is fine."""
    name = _hostname(f"//{host}") if host else None
    if host and (name is None or not is_loopback(name)):
        return f"the Host header {host!r} is not this machine; use http://127.0.0.1 or localhost"
    if not origin or origin in allowed_origins or "*" in allowed_origins:
        return None
    site = _hostname(origin)
    if site is None or not is_loopback(site):
        return f"the Origin {origin!r} is not allowed; list it in the namespace's allowed_origins"
    return None


def _hostname(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
