"""The two protocol eras as a client's request shows them. Pure.

The era is decided by what each request carries, never by what the connection did before: a request
whose ``_meta`` names a protocol version is stateless (MCP 2026-07-28, "Versioning"); all others are
of the handshake era.
"""

from dataclasses import dataclass

import msgspec

import mcproxy
from mcproxy import mcp
from mcproxy.errors import RpcError
from mcproxy.types import Json, JsonObject

LIST_TTL_MS = 5_000  # tool lists change when servers come and go

_object = msgspec.json.Decoder(dict[str, Json])
_encode = msgspec.json.Encoder().encode


class _Head(msgspec.Struct):
    resultType: Json = None


_head = msgspec.json.Decoder(_Head)


@dataclass(frozen=True, slots=True)
class Call:
    """One request's parameters, read once, and the era that it belongs to."""

    params: JsonObject
    modern: bool

    def result(self, body: JsonObject, *, ttl_ms: int | None = None) -> bytes:
        """Write a result as the era wants it; ``ttl_ms`` marks one that may be cached."""
        if not self.modern:
            return _encode(body)
        caching: JsonObject = {}
        if ttl_ms is not None:
            caching = {"ttlMs": ttl_ms, "cacheScope": "private"}
        own = body.get("_meta")
        meta: JsonObject = {
            **(own if isinstance(own, dict) else {}),
            mcp.META_SERVER_INFO: server_info(),
        }
        return _encode({"resultType": "complete", **body, **caching, "_meta": meta})

    def passed(self, raw: bytes, *, cacheable: bool = False) -> bytes:
        """A server's result, unchanged but for what this client's era demands and it lacks.

        Raises RpcError where it is no object.
        """
        if not self.modern:
            return raw
        try:
            if _head.decode(raw).resultType is not None:
                return raw  # the server is of the same era
        except (msgspec.DecodeError, RecursionError) as error:
            text = f"the server's result is no object: {error}"
            raise RpcError(RpcError.INTERNAL_ERROR, text) from error
        members = raw.strip()[1:].lstrip()
        added = b'{"resultType":"complete"'
        if cacheable:
            added += b',"ttlMs":0,"cacheScope":"private"'
        return added + (b"" if members.startswith(b"}") else b",") + members

    @property
    def meta(self) -> JsonObject:
        """The request's ``_meta``, empty where there is none."""
        meta = self.params.get("_meta")
        return meta if isinstance(meta, dict) else {}

    @property
    def capabilities(self) -> JsonObject:
        """What a stateless client says that it can be asked for."""
        declared = self.meta.get(mcp.META_CLIENT_CAPABILITIES)
        return declared if isinstance(declared, dict) else {}

    @property
    def log_level(self) -> Json:
        """The least severe log messages that a stateless client wants to have."""
        return self.meta.get(mcp.META_LOG_LEVEL)


def read_call(raw: bytes) -> Call:
    """Read a request's parameters.

    Raises RpcError: INVALID_PARAMS when they are no object, UNSUPPORTED_VERSION (-32022) for a
    stateless request of a revision that is not spoken here.
    """
    try:
        params = _object.decode(raw)
    except (msgspec.DecodeError, RecursionError) as error:
        raise RpcError(RpcError.INVALID_PARAMS, f"params must be an object: {error}") from error
    meta = params.get("_meta")
    version = meta.get(mcp.META_VERSION) if isinstance(meta, dict) else None
    if version is None:
        return Call(params, modern=False)
    if version != mcp.STATELESS_VERSION:
        raise RpcError(
            mcp.UNSUPPORTED_VERSION,
            f"protocol version {version!r} is not spoken without a handshake",
            {"supported": [mcp.STATELESS_VERSION], "requested": str(version)},
        )
    return Call(params, modern=True)


def negotiate(asked: Json) -> str:
    """The version that ``initialize`` answers: the one asked for, else our newest."""
    known = isinstance(asked, str) and asked in mcp.HANDSHAKE_VERSIONS
    return str(asked) if known else mcp.HANDSHAKE_VERSIONS[0]


def server_info() -> JsonObject:
    """This program, as ``Implementation``."""
    return {"name": "mcproxy", "title": "MCProxy", "version": mcproxy.__version__}
