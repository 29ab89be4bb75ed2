"""Protection against DNS rebinding: whose ``Host`` and ``Origin`` a loopback bind accepts. Pure.

MCP, basic/transports, "Security Warning": servers must validate ``Origin``. A page that a browser
loaded from anywhere can reach a server on this machine; it cannot choose these headers.
"""

import ipaddress
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


def foreign_host(host: str | None) -> str | None:
    """Why the ``Host`` of a request to a loopback bind is refused, None when it is fine."""
    if not host or is_loopback(_hostname(f"//{host}") or ""):
        return None
    return f"the Host header {host!r} is not this machine; use http://127.0.0.1 or localhost"


def foreign_origin(origin: str | None) -> str | None:
    """Why the ``Origin`` of a request to a loopback bind is refused, None when it is fine."""
    if not origin or is_loopback(_hostname(origin) or ""):
        return None
    return f"the Origin {origin!r} is not allowed; list it in the namespace's allowed_origins"


def _hostname(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
