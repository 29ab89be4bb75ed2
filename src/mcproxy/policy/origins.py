"""Whether a request over HTTP may come at all: every decision on ``Host`` and ``Origin``. Pure.

MCP, basic/transports, "Security Warning": servers must validate ``Origin``. A page that a browser
loaded from anywhere can send requests to whatever its reader can reach, this machine and its
network included. It cannot choose these two headers, so they are judged, on every address alike.

``Host`` tells DNS rebinding, where a page's own name has become the gateway's address: only a name
that is known to be the gateway's (or an address, which nobody can rebind) makes a page its own.
"""

import ipaddress
import re
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import NamedTuple

import msgspec

from mcproxy.addresses import LOCALHOST, is_loopback
from mcproxy.config.hosts import one_form
from mcproxy.config.model import ANY
from mcproxy.types import Caller

MAX_SHOWN_CHARS = 100  # of a header in a refusal
_WEB = {"http": 80, "https": 443}  # the schemes of pages from the web, with their ports
# RFC 9110, 7.2 (Host), and RFC 6454, 6.2 (Origin): no user name, no path, no letters but ASCII.
_PARTS = re.compile(
    r"(?:(?P<scheme>[a-z][a-z0-9+.-]*)://)?"
    r"(?P<host>[a-z0-9_.-]+|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{1,5}))?",
    re.IGNORECASE | re.ASCII,
)
_OPAQUE = "null"  # the Origin of files and of sandboxed pages


class Bind(msgspec.Struct, frozen=True):
    """What the gateway listens on: a name or an address, as in ``one_form``."""

    name: str
    loopback: bool


class Arrival(msgspec.Struct, frozen=True):
    """How a request came: what its head says, and between which addresses its connection is.

    ``host`` is empty, and ``origin`` None, where there is no such header. ``forwarded``: a proxy
    left its mark; ``forwarded_scheme`` and ``forwarded_for`` are the scheme and the clients that it
    names.
    """

    host: str = ""
    origin: str | None = None
    peer: str | None = None
    reached: str | None = None
    scheme: str = "http"
    forwarded: bool = False
    forwarded_scheme: str = ""
    forwarded_for: str = ""


class OriginVerdict(msgspec.Struct, frozen=True):
    """What to make of a request.

    ``refusal``: why it is refused, whatever it asks for. ``foreign``: why it is refused where no
    namespace lists its origin. Both are empty where nothing speaks against it. ``local``: it was
    sent from this machine. ``base`` is the URL, without a path, under which its sender reaches the
    gateway; None where what it says of that is not to be repeated. ``sender`` is its address, for
    counting only.
    """

    refusal: str = ""
    foreign: str = ""
    local: bool = True
    base: str | None = None
    sender: str = ""


class _Parts(NamedTuple):
    scheme: str
    host: str
    port: int | None


def bind_to(host: str) -> Bind:
    """What listening on ``host`` means."""
    name = one_form(host)
    return Bind(name, is_loopback(name))


@lru_cache(maxsize=64)  # a client's requests come alike, again and again
def judge(arrival: Arrival, bind: Bind, allowed: frozenset[str] = frozenset()) -> OriginVerdict:
    """Judge a request; ``allowed`` are the entries of ``allowed_hosts``.

    A request without ``Host`` or ``Origin`` comes from no page: every browser sends the one always,
    and the other with whatever could do harm. Whatever came through a proxy is not local; the
    scheme and the sender that a proxy names count where the proxy is on this machine.
    """
    near = arrival.peer is None or is_loopback(arrival.peer)
    local = near and not arrival.forwarded
    host = _parts(arrival.host)
    name = host.host if host and not host.scheme else None
    known = name is not None and _is_known(name, bind, arrival.reached, allowed)
    if arrival.host and not known and (bind.loopback or allowed):
        return OriginVerdict(_unknown_host(arrival.host), local=local)
    trusted = host if name is not None and (known or _is_address(name)) else None
    here = bind.loopback and local and is_loopback(name or LOCALHOST)
    return OriginVerdict(
        foreign=_foreign(arrival, trusted, here=here),
        local=local,
        base=f"{_scheme(arrival, near=near)}://{arrival.host}" if trusted else None,
        sender=_sender(arrival, near=near),
    )


def origin_allowed(allowed: Sequence[str] | None, caller: Caller) -> bool:
    """Does the request come from an origin that ``allowed_origins`` lists (None: not set)?

    Where it is not set, every origin is fine but a foreign page's. A request without ``Origin``
    comes from no web page; it passes from this machine where ``localhost`` is listed. An entry
    without a scheme is a host, of any port unless it has one.
    """
    if allowed is None:
        return not caller.foreign
    if ANY in allowed:
        return True
    if caller.origin is None:
        return caller.local and LOCALHOST in allowed
    if caller.origin == _OPAQUE:
        return _OPAQUE in allowed
    found = _parts(caller.origin)
    if not found or not found.scheme:
        return False
    return any(_allows(entry, found) for entry in allowed)


def _scheme(arrival: Arrival, *, near: bool) -> str:
    return arrival.forwarded_scheme if near and arrival.forwarded_scheme in _WEB else arrival.scheme


def _sender(arrival: Arrival, *, near: bool) -> str:
    """Whom the nearest proxy saw, the last one that is named: the others are that one's words."""
    named = one_form(arrival.forwarded_for.rpartition(",")[2].strip())
    return named if near and _is_address(named) else arrival.peer or ""


def _is_known(name: str, bind: Bind, reached: str | None, allowed: Collection[str]) -> bool:
    """Does the gateway know that the name is its own? Those of loopback are nobody else's."""
    return is_loopback(name) or name in allowed or name in (bind.name, reached)


def _foreign(arrival: Arrival, trusted: _Parts | None, *, here: bool) -> str:
    """Why the page that sends a request is none of the gateway's own, if a page does: it was loaded
    from the ``trusted`` host, or, where the request never leaves this machine (``here``), from
    another server on it."""
    if arrival.origin is None:
        return ""
    shown = repr(arrival.origin[:MAX_SHOWN_CHARS])
    page = _parts(arrival.origin)
    if page and page.scheme in _WEB:
        if here and is_loopback(page.host):
            return ""
        if _same(page, trusted):
            return ""
        if _same(page, _parts(arrival.host)):
            return f"the Origin {shown} is not allowed; list its host in allowed_hosts"
    return f"the Origin {shown} is not allowed; list it in the namespace's allowed_origins"


def _same(page: _Parts, host: _Parts | None) -> bool:
    """Was the page loaded from this host and port? A port that is left out is that of the page's
    scheme: what the gateway was asked with may differ, where a proxy ends TLS."""
    usual = _WEB[page.scheme]
    if host is None:
        return False
    return (page.host, page.port or usual) == (host.host, host.port or usual)


def _allows(entry: str, found: _Parts) -> bool:
    wanted = _parts(entry)
    if not wanted or wanted.host != found.host:
        return False
    if not wanted.scheme:
        return wanted.port in (None, _port(found))
    return (wanted.scheme, _port(wanted)) == (found.scheme, _port(found))


def _port(parts: _Parts) -> int | None:
    return _WEB.get(parts.scheme) if parts.port is None else parts.port


def _parts(text: str) -> _Parts | None:
    found = _PARTS.fullmatch(text)
    if found is None:
        return None
    port = found["port"]
    return _Parts(
        (found["scheme"] or "").lower(), one_form(found["host"]), int(port) if port else None
    )


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _unknown_host(host: str) -> str:
    return (
        f"the Host {host[:MAX_SHOWN_CHARS]!r} is not known to be this gateway's; "
        "use http://127.0.0.1 or localhost on this machine, or list it in allowed_hosts"
    )
