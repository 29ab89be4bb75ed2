"""What an OAuth client reads to find the issuer: the gateway's metadata as a protected resource
(RFC 9728), and where a refusal says that it is. Pure.

Every path has the same answer, with or without a namespace behind it: nothing here tells which
there are.
"""

from urllib.parse import quote, urlsplit

from mcproxy.config.auth import JwtConfig
from mcproxy.types import Json, JsonObject

WELL_KNOWN = "/.well-known/oauth-protected-resource"


def document(rules: JwtConfig, reached: str | None, path: str) -> JsonObject | None:
    """The metadata of the resource whose path follows ``WELL_KNOWN`` in ``path``, which is decoded.
    ``reached`` is the URL under which the client reaches the gateway; None where nothing tells it.

    RFC 9728, section 3.3: ``resource`` must be the very URL that the client began with.
    """
    base = _base(rules, reached)
    if base is None:
        return None
    scopes: list[Json] = [*sorted(rules.scopes)]
    return {
        "resource": _origin(base) + quote(path.removeprefix(WELL_KNOWN)),
        "authorization_servers": [rules.issuer],
        "scopes_supported": scopes,
        "bearer_methods_supported": ["header"],
    }


def challenge(text: str, rules: JwtConfig | None, reached: str | None, path: str) -> str:
    """A ``WWW-Authenticate`` that says where the metadata of this resource is (section 5.1).

    It names no ``scope`` that would do: that would tell which namespaces there are.
    """
    base = _base(rules, reached) if rules and text else None
    if base is None:
        return text
    metadata = _origin(base) + WELL_KNOWN + urlsplit(base).path + quote(path)
    return f'{text}, resource_metadata="{metadata}"'


def _base(rules: JwtConfig, reached: str | None) -> str | None:
    return rules.resource.rstrip("/") if rules.resource else reached


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
