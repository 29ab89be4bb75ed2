"""What may stand for a host: in both ``allowed_hosts``, in ``allowed_origins``, in a URL. Pure.

A script may never reach an address that is not public, so an entry that could only mean one is
refused when the configuration is read: whoever wrote it expects something that will not happen.
"""

import ipaddress
import re
from urllib.parse import urlsplit

from mcproxy.addresses import is_public, plain
from mcproxy.config.fields import refusal

# Names that no public resolver answers: RFC 6761 and 6762, RFC 8375, RFC 9476, RFC 7686, ICANN's
# reserved "internal", and the ones that home and office routers invent.
NEVER_PUBLIC = frozenset(
    {"localhost", "local", "test", "example", "invalid", "arpa", "alt", "onion", "internal"}
    | {"localdomain", "lan", "home", "corp", "mail", "intranet", "private"}
)

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_ORIGIN = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*://)?(?P<host>[\w-]+(?:\.[\w-]+)*\.?|\[[0-9a-f:.]+\])"
    r"(?P<port>:[0-9]{1,5})?",
    re.IGNORECASE,
)


def public_host(entry: str) -> str:
    """Return the entry in lower case, in ASCII (IDNA), without the final dot.

    ``*`` is every public host, ``*.example.org`` every host below that name. Raises
    PydanticCustomError for an address, a URL, and a name that is never public.
    """
    if entry == "*":
        return entry
    host = _bare(entry)
    name = host.removeprefix("*.")
    labels = name.split(".")
    if not _is_name(name):
        raise refusal(
            f"{entry!r} is not a host name", "write 'api.example.org', '*.example.org' or '*'"
        )
    if labels[-1] in NEVER_PUBLIC or (len(labels) == 1 and host == name):
        raise refusal(
            f"{entry!r} is never a public host",
            "scripts cannot reach this machine or its network; configure a server for that",
        )
    return host


def origin(entry: str) -> str:
    """Return an entry of ``allowed_origins``: ``*``, a host, or a whole origin, its host as in
    ``one_form``. Raises PydanticCustomError."""
    if entry == "*":
        return entry
    parts = _ORIGIN.fullmatch(entry)
    if not parts:
        raise refusal(
            f"{entry!r} is not an origin",
            "write 'https://app.example.org' without a path, 'localhost' or '*'",
        )
    host = one_form(parts["host"])
    named = f"[{host}]" if ":" in host else host
    return f"{(parts['scheme'] or '').lower()}{named}{parts['port'] or ''}"


def served_host(entry: str) -> str:
    """Return an entry of the top level's ``allowed_hosts`` as in ``one_form``.

    Raises PydanticCustomError for a URL, a port, a pattern.
    """
    _refuse_url(entry)
    host = one_form(entry.strip())
    name, colon, port = host.rpartition(":")
    if colon and port.isdigit() and not _is_plain_address(host):
        raise refusal(f"{entry!r} names a port", f"write the host alone: {name!r}, for every port")
    if not _is_plain_address(host) and (not _is_name(host) or _is_address(host)):
        raise refusal(f"{entry!r} is not a host name", "write 'mcp.example.org' or '192.168.1.7'")
    return host


def one_form(host: str) -> str:
    """The one spelling in which hosts are compared: a name in lower case, in ASCII (IDNA), without
    the final dot; an address as short as can be, without brackets."""
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        return str(plain(ipaddress.ip_address(bare)))
    except ValueError:
        return _in_ascii(host.lower()).removesuffix(".")


def is_public_host(host: str) -> bool:
    """Whether a host lies outside this machine and its network, as far as its name tells."""
    if _is_plain_address(host):
        return is_public(host)
    labels = host.lower().rstrip(".").split(".")
    return len(labels) > 1 and labels[-1] not in NEVER_PUBLIC


def is_http_url(url: str) -> bool:
    """Is this a URL that a request can be sent to: http or https, with a host?"""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _bare(entry: str) -> str:
    _refuse_url(entry)
    host = _in_ascii(entry.strip().lower().removesuffix("."))
    name, colon, port = host.rpartition(":")
    if _is_address(host) or _is_address(name):
        raise refusal(
            f"{entry!r} is an IP address", "scripts reach public hosts by their names only"
        )
    if colon and port.isdigit():
        raise refusal(
            f"{entry!r} names a port",
            f"write the host alone: {name!r}; the ports are always 443 and 80",
        )
    return host


def _refuse_url(entry: str) -> None:
    scheme, _, rest = entry.rpartition("://")
    if scheme:
        host = rest.partition("/")[0]
        raise refusal(f"{entry!r} is a URL", f"write the host alone: {host!r}")


def _is_name(host: str) -> bool:
    return len(host) <= 253 and all(map(_LABEL.fullmatch, host.split(".")))


def _in_ascii(host: str) -> str:
    try:
        return host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError:
        return host


def _is_address(name: str) -> bool:
    """Is this an IP address in any form that a resolver takes (``0x7f.1``, ``2130706433``)?"""
    if _is_plain_address(name.strip("[]")):
        return True
    return bool(_NUMBER.fullmatch(name.rpartition(".")[2]))


def _is_plain_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
