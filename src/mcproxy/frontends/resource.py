"""What an OAuth client reads to find the issuer: the gateway's metadata as a protected resource
(RFC 9728), and where a refusal says that it is. Pure.

Every path has the same answer, with or without a namespace behind it: nothing here tells which
there are.
"""

import re
from urllib.parse import quote, urlsplit

from starlette.requests import Request

from mcproxy.config.auth import JwtConfig
from mcproxy.types import Json, JsonObject

WELL_KNOWN = "/.well-known/oauth-protected-resource"

# What clients send as Host goes into a header and into a URL: it must be no more than a host.
_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")


def document(rules: JwtConfig, request: Request) -> JsonObject | None:
    """The metadata of the resource whose path follows ``WELL_KNOWN``; None for a bad Host.

    RFC 9728, section 3.3: ``resource`` must be the very URL that the client began with.
    """
    base = _base(rules, request)
    if base is None:
        return None
    scopes: list[Json] = [*sorted(rules.scopes)]
    return {
        "resource": _origin(base) + quote(_path(request).removeprefix(WELL_KNOWN)),
        "authorization_servers": [rules.issuer],
        "scopes_supported": scopes,
        "bearer_methods_supported": ["header"],
    }


def challenge(text: str, rules: JwtConfig | None, request: Request) -> str:
    """A ``WWW-Authenticate`` that says where the metadata of this resource is (section 5.1).

    It names no ``scope`` that would do: that would tell which namespaces there are.
    """
    base = _base(rules, request) if rules and text else None
    if base is None:
        return text
    path = urlsplit(base).path + quote(_path(request))
    return f'{text}, resource_metadata="{_origin(base)}{WELL_KNOWN}{path}"'


def _base(rules: JwtConfig, request: Request) -> str | None:
    """The URL under which this client reaches the gateway."""
    if rules.resource:
        return rules.resource.rstrip("/")
    host = request.headers.get("host", "")
    return f"{request.url.scheme}://{host}" if _HOST.fullmatch(host) else None


def _path(request: Request) -> str:
    """The path, decoded; a ``URL`` would leave out line breaks."""
    path: str = request.scope["path"]
    return path


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
