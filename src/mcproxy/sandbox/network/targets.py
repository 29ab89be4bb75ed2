"""Where a request to the egress proxy wants to go, and whether the host is allowed. Pure.

Two forms are understood: ``CONNECT host:443`` and an absolute ``http://`` URL to port 80 (RFC 9112,
3.2). Everything is judged on names; an IP address is refused in every spelling, because a name that
was allowed is the only thing that the operator has vouched for.
"""

import re
from collections.abc import Collection

import msgspec

HTTPS_PORT, HTTP_PORT = 443, 80

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")  # as a last label: what resolvers take for an address
_URL = re.compile(r"http://([^/?#]*)([^#]*)", re.IGNORECASE)
_MOST_CHARS = 253  # of a host name (RFC 1035, 2.3.4)


class Refused(Exception):
    """A request that is not carried out, with the status of HTTP that says so."""

    def __init__(self, status: int, reason: str) -> None:
        self.status, self.reason = status, reason
        super().__init__(reason)


class Target(msgspec.Struct, frozen=True):
    """A host in lower case without its final dot, a port, and for plain HTTP the path."""

    host: str
    port: int
    path: str = ""

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def connect_target(authority: str) -> Target:
    """The target of CONNECT. Raises Refused."""
    host, port = _split(authority, None)
    host = host_name(host)
    if port != HTTPS_PORT:
        raise Refused(403, f"port {port} is not allowed: TLS goes to port 443, plain HTTP to 80")
    return Target(host, port)


def http_target(url: str) -> Target:
    """The target of any other method. Raises Refused."""
    parts = _URL.fullmatch(url)
    if parts is None:
        raise Refused(
            400, "this is a proxy for http:// and https:// URLs: set it as such, send absolute URLs"
        )
    authority, path = parts.groups()
    host, port = _split(authority, HTTP_PORT)
    host = host_name(host)
    if port != HTTP_PORT:
        raise Refused(403, f"port {port} is not allowed: plain HTTP goes to port 80, TLS to 443")
    return Target(host, port, path if path.startswith("/") else "/" + path)


def host_name(text: str) -> str:
    """A host name in the form in which names are compared. Raises Refused."""
    host = text.lower().removesuffix(".")
    if "[" in host or ":" in host or _NUMBER.fullmatch(host.rpartition(".")[2]):
        raise Refused(403, f"{text[:80]!r} is an IP address: hosts are reached by name only")
    if len(host) > _MOST_CHARS or not all(map(_LABEL.fullmatch, host.split("."))):
        raise Refused(403, f"{text[:80]!r} is not a host name")
    return host


def is_allowed(host: str, allowed: Collection[str]) -> bool:
    """Does an entry allow this host? ``*.example.org`` is every host below that name, not itself.

    ``*`` is every host with a name of at least two labels: one label alone is never public.
    """
    if host in allowed:
        return True
    parents = host.split(".")[1:]
    if "*" in allowed and parents:
        return True
    return any("*." + ".".join(parents[start:]) in allowed for start in range(len(parents)))


def _split(authority: str, default_port: int | None) -> tuple[str, int | None]:
    if "@" in authority:
        raise Refused(403, f"{authority[:80]!r} has a user name in it: write the host alone")
    if authority.endswith("]"):
        return authority, default_port
    host, colon, port = authority.rpartition(":")
    if not colon:
        return authority, default_port
    if port and not (port.isascii() and port.isdigit() and len(port) <= len("65535")):
        raise Refused(403, f"{authority[:80]!r} has no valid port")
    return host, int(port) if port else default_port
