"""The description of an API: where it is read from, when it is new, and what it comes to.

A file is looked at every two seconds, a URL asked again after ``refresh_secs``. A description from
the network may name its own origin only: what is configured is sent nowhere else, and no text makes
the gateway ask inside its own network.
"""

import asyncio
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import msgspec

from mcproxy import mcp
from mcproxy.config.hosts import is_http_url
from mcproxy.config.model import ServerConfig
from mcproxy.errors import PeerClosed
from mcproxy.types import Json, JsonObject
from mcproxy.upstream.openapi.document import (
    MAX_BYTES,
    BadDescription,
    Document,
    listed,
    objects,
    parsed,
    text,
)
from mcproxy.upstream.openapi.operations import (
    Operation,
    OperationChoice,
    operations_of,
    plain,
    security_schemes,
)
from mcproxy.upstream.openapi.request import Signature, signature
from mcproxy.upstream.openapi.schemas import shortened
from mcproxy.upstream.remote.endpoint import RemoteTarget, opened, read_body

READ_SECS = 60.0  # for a description to arrive
FILE_SECS = 2.0  # between two looks at a file: as a rule it is being edited
MAX_TOLD = 50  # operations that are left out, told with their reason
MAX_ABOUT_CHARS = 300
_VARIABLE = re.compile(r"\{([^{}]+)\}")

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Description:
    """The bytes of a description; ``mark`` tells whether they are still the newest."""

    data: bytes = field(repr=False)
    mark: str

    @property
    def digest(self) -> bytes:
        """What stands for the bytes."""
        return hashlib.sha256(self.data).digest()


@dataclass(frozen=True, slots=True)
class ApiOffer:
    """What a description offers: the answers to ``server/discover`` and ``tools/list``, the
    operations by tool, each with the URL that its path follows, and what signs them."""

    origin: str
    about: bytes = field(repr=False)
    tools: bytes = field(repr=False)
    operations: Mapping[str, tuple[Operation, str]] = field(repr=False)
    signatures: Mapping[str, Signature] = field(repr=False)
    left_out: tuple[str, ...] = ()


async def read(name: str, server: ServerConfig, known: Description | None) -> Description | None:
    """The description as it is now; None where it is the one that is known.

    Raises PeerClosed where it cannot be read.
    """
    source = server.openapi or ""
    if not is_http_url(source):
        return await asyncio.to_thread(_read_file, source, known)
    try:
        async with asyncio.timeout(READ_SECS):
            return await _fetched(name, server, known)
    except TimeoutError as error:
        raise PeerClosed("its description did not arrive in time", cause="too_slow") from error


def refresh_secs(server: ServerConfig) -> float:
    """How often it is worth a look."""
    return server.refresh_secs if is_http_url(server.openapi or "") else FILE_SECS


def _read_file(source: str, known: Description | None) -> Description | None:
    path = Path(source).expanduser()
    try:
        found = path.stat()
        mark = f"{found.st_mtime_ns} {found.st_size} {found.st_ino}"
        if known and known.mark == mark:
            return None
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise PeerClosed(f"its description has over {MAX_BYTES >> 20} MiB: {path}")
        return Description(data, mark)
    except OSError as error:
        raise PeerClosed(f"its description cannot be read: {path}: {error.strerror}") from error


async def _fetched(
    name: str, server: ServerConfig, known: Description | None
) -> Description | None:
    source = server.openapi or ""
    own = server.base_url is None or _origin(server.base_url) == _origin(source)
    target = RemoteTarget(name, source, server.headers if own else {})
    headers = {"Accept": "application/json, application/yaml, */*;q=0.5"}
    if known and known.mark:
        headers["If-None-Match"] = known.mark
    async with opened(target) as remote, remote.stream("GET", headers) as response:
        if known and response.status_code == httpx.codes.NOT_MODIFIED:
            return None
        if not response.is_success:
            fault = await remote.refusal(response)
            raise PeerClosed(f"its description: {fault}", cause=fault.cause)
        data = await read_body(response, MAX_BYTES)
        if data is None:
            raise PeerClosed(f"its description has over {MAX_BYTES >> 20} MiB")
        return Description(data, response.headers.get("etag", ""))


def api_of(description: Description, server: ServerConfig) -> ApiOffer:
    """What a description comes to under this configuration. Pure, and slow: some 0.3 s for a
    thousand operations. Raises BadDescription."""
    document = Document(parsed(description.data))
    base = _base(document, server)
    found = operations_of(document, _choice(server))
    left_out, operations = list(found.left_out), {}
    own = _origin(_said_server(document, server))
    for tool, operation in found.by_tool.items():
        place = base
        if operation.server and _origin(_joined(base, operation.server)) != own:
            place = _joined(base, operation.server)
        if _origin(place) != _origin(base):
            left_out.append(f"{operation.method} {operation.path}: it is at {_origin(place)}")
        else:
            operations[tool] = (operation, place.rstrip("/"))
    tools: list[Json] = [operation.definition for operation, _ in operations.values()]
    return ApiOffer(
        _origin(base),
        _encode(_about(document)),
        _encode({"tools": [*tools, *_told(left_out)]}),
        operations,
        dict(_signatures(document, server)),
        tuple(left_out),
    )


def _choice(server: ServerConfig) -> OperationChoice:
    headers = frozenset(name.lower() for name in server.headers)
    return OperationChoice(server.operations, headers, frozenset(server.credentials))


def _signatures(document: Document, server: ServerConfig) -> Iterator[tuple[str, Signature]]:
    schemes = security_schemes(document)
    for name, secret in server.credentials.items():
        if name not in schemes:
            known = ", ".join(schemes) or "none; set `headers` instead"
            raise BadDescription(
                f"credentials.{name}: its description has no such security scheme; it has: {known}"
            )
        yield name, signature(name, schemes[name], secret)


def _base(document: Document, server: ServerConfig) -> str:
    """The URL that paths follow. Raises BadDescription."""
    if server.base_url:
        return server.base_url
    base, source = _said_server(document, server), server.openapi or ""
    if not is_http_url(base):
        raise BadDescription("its description names no server that can be reached; set `base_url`")
    if is_http_url(source) and _origin(base) != _origin(source):
        raise BadDescription(
            f"its description names the server {_origin(base)}, and is itself elsewhere; set "
            "`base_url` to that server if you trust it"
        )
    return base


def _said_server(document: Document, server: ServerConfig) -> str:
    """The first server that the description names, with its variables' defaults."""
    source = server.openapi or ""
    root = document.root
    if document.is_swagger:
        schemes = [scheme for scheme in listed(root.get("schemes")) if scheme in ("https", "http")]
        host = text(root.get("host"))
        said = (
            f"{'https' if 'https' in schemes or not schemes else 'http'}://{host}" if host else ""
        )
        said += text(root.get("basePath"))
    else:
        servers = [each for each in listed(root.get("servers")) if isinstance(each, dict)]
        first: JsonObject = servers[0] if servers else {"url": "/"}
        variables = objects(first.get("variables"))
        said = _VARIABLE.sub(
            lambda found: text(variables.get(found[1], {}).get("default")), text(first.get("url"))
        )
    return _joined(source, said) if is_http_url(source) else said


def _joined(base: str, location: str) -> str:
    try:
        return str(httpx.URL(base).join(location))
    except httpx.InvalidURL as error:
        raise BadDescription(f"its description names a server that is no URL: {error}") from error


def _origin(url: str) -> str:
    try:
        found = httpx.URL(url)
    except httpx.InvalidURL:
        return ""
    return f"{found.scheme}://{found.netloc.decode('ascii', 'replace')}"


def _about(document: Document) -> JsonObject:
    info = document.root.get("info")
    said = info if isinstance(info, dict) else {}
    title, details = plain(said.get("title")), plain(said.get("description"))
    about = ". ".join(filter(None, (title.rstrip("."), details)))
    return {
        "supportedVersions": [mcp.STATELESS_VERSION],
        "capabilities": {"tools": {"listChanged": True}},
        "instructions": shortened(about, MAX_ABOUT_CHARS),
        "_meta": {
            mcp.META_SERVER_INFO: {
                "name": shortened(title, MAX_ABOUT_CHARS) or "API",
                "version": text(said.get("version"))[:50],
            }
        },
    }


def _told(left_out: list[str]) -> Iterator[Json]:
    """Operations that are left out, as tools of which nothing but the reason is known."""
    for each in left_out[:MAX_TOLD]:
        place, _, reason = each.partition(": ")
        yield {"name": place[:100], "_meta": {mcp.META_LEFT_OUT: reason}}
