"""What may stand for a host: in ``allowed_hosts``, in ``allowed_origins``, in a URL. Pure.

A script may never reach an address that is not public, so an entry that could only mean one is
refused when the configuration is read: whoever wrote it expects something that will not happen.
"""

import ipaddress
import re
from urllib.parse import urlsplit

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
    r"(?:[a-z][a-z0-9+.-]*://)?(?:[\w-]+(?:\.[\w-]+)*|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?",
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
    if len(name) > 253 or not all(map(_LABEL.fullmatch, labels)):
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
    """Return an entry of ``allowed_origins`` in lower case: ``*``, a host, or a whole origin."""
    if entry != "*" and not _ORIGIN.fullmatch(entry):
        raise refusal(
            f"{entry!r} is not an origin",
            "write 'https://app.example.org' without a path, 'localhost' or '*'",
        )
    return entry.lower()


def is_public_host(host: str) -> bool:
    """Whether a host lies outside this machine and its network, as far as its name tells."""
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
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
    scheme, _, rest = entry.rpartition("://")
    if scheme:
        host = rest.partition("/")[0]
        raise refusal(f"{entry!r} is a URL", f"write the host alone: {host!r}")
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


def _in_ascii(host: str) -> str:
    try:
        return host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError:
        return host


def _is_address(name: str) -> bool:
    """Is this an IP address in any form that a resolver takes (``0x7f.1``, ``2130706433``)?"""
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return bool(_NUMBER.fullmatch(name.rpartition(".")[2]))
    return True
