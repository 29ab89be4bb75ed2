"""Asks an issuer for its keys: where they are (RFC 8414, OpenID Connect Discovery), and the keys.

Owns the requests and their bounds; when to ask is for ``keyring``. The issuer is the operator's, so
that it may well be on this machine. No redirect is followed.
"""

import asyncio
import json
from urllib.parse import urlsplit

import httpx
from jwt import PyJWK

from mcproxy.config.auth import JwtConfig
from mcproxy.config.hosts import is_http_url, is_public_host
from mcproxy.errors import McproxyError
from mcproxy.policy.oauth.verify import keys_in
from mcproxy.types import Json

FETCH_SECS = 10.0  # for all requests together, so that a caller need not wait for longer
MAX_BODY_BYTES = 256 << 10  # of metadata or keys; both have a few KiB

_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity"}


class IssuerUnavailable(McproxyError):
    """The issuer gives no keys; the text says which URL, and why."""


async def fetch_keys(rules: JwtConfig) -> tuple[PyJWK, ...]:
    """The issuer's keys that the rules can use, at least one. Raises IssuerUnavailable."""
    try:
        async with asyncio.timeout(FETCH_SECS):
            url = rules.jwks_url or await _keys_url(rules.issuer)
            document = await _get(url)
    except TimeoutError as error:
        text = f"the issuer {rules.issuer} did not give its keys within {FETCH_SECS:g} s"
        raise IssuerUnavailable(text) from error
    try:
        keys = keys_in(document, rules)
    except (ValueError, RecursionError) as error:
        raise IssuerUnavailable(f"{_shown(url)}: this is no JSON") from error
    if not keys:
        wanted = ", ".join(rules.algorithms)
        raise IssuerUnavailable(f"{_shown(url)}: no key there can verify {wanted}")
    return keys


def metadata_urls(issuer: str) -> tuple[str, ...]:
    """Where an issuer's metadata may be, in the order to ask.

    RFC 8414, sections 3.1 and 5, put the well-known part before the issuer's path; OpenID Connect
    Discovery, section 4.1, puts it behind.
    """
    parts = urlsplit(issuer)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    known = f"{origin}/.well-known"
    urls = (
        f"{known}/oauth-authorization-server{path}",
        f"{known}/openid-configuration{path}",
        f"{origin}{path}/.well-known/openid-configuration",
    )
    return tuple(dict.fromkeys(urls))


async def _keys_url(issuer: str) -> str:
    reasons: list[str] = []
    for url in metadata_urls(issuer):
        try:
            return _jwks_uri(await _get(url), issuer, url)
        except IssuerUnavailable as error:
            reasons.append(str(error))
    raise IssuerUnavailable("; ".join(reasons))


def _jwks_uri(document: bytes, issuer: str, url: str) -> str:
    try:
        metadata: Json = json.loads(document)
    except (ValueError, RecursionError) as error:
        raise IssuerUnavailable(f"{url}: this is no JSON") from error
    if not isinstance(metadata, dict) or metadata.get("issuer") != issuer:
        # RFC 8414, section 3.3: else another could pass its keys off as the issuer's.
        raise IssuerUnavailable(f"{url}: this is not the metadata of {issuer}")
    found = metadata.get("jwks_uri")
    if not isinstance(found, str) or not is_http_url(found):
        raise IssuerUnavailable(f"{url}: it names no 'jwks_uri'; set auth.jwt.jwks_url")
    return found


async def _get(url: str) -> bytes:
    body = bytearray()
    try:
        async with _client(url) as client, client.stream("GET", url, headers=_HEADERS) as response:
            if response.status_code != httpx.codes.OK:
                raise IssuerUnavailable(f"{_shown(url)}: it answers {response.status_code}")
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise IssuerUnavailable(f"{_shown(url)}: it is over {MAX_BODY_BYTES} bytes")
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        raise IssuerUnavailable(f"{_shown(url)}: {str(error) or type(error).__name__}") from error
    return bytes(body)


def _client(url: str) -> httpx.AsyncClient:
    """A client for one request; proxies of the environment are for public hosts only."""
    host = urlsplit(url).hostname or ""
    near = f"[{host}]" if ":" in host else host
    mounts = {} if is_public_host(host) else {f"all://{near}": None}
    return httpx.AsyncClient(mounts=mounts, timeout=FETCH_SECS, follow_redirects=False)


def _shown(url: str) -> str:
    """The URL as it may be logged: a query may hold a key for its server."""
    return url.partition("?")[0]
