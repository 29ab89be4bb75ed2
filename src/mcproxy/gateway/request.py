"""What travels with a request: who asks, in which era, what is open to it there, and the way to
its client.

The era is decided by what each request carries, never by what the connection did before: a request
whose ``_meta`` names a protocol version is stateless (MCP 2026-07-28, "Versioning"); all others are
of the handshake era.

The context is made once for each request and handed on; nothing else says who asks. The rules by
which it was made hold for it as long as it does not wait: see ``Gateway.renewed``.

A client of the handshake era says once for its session which log messages it wants; a stateless
one says it with each request. Sessions are held weakly: what is known of one goes with it.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from weakref import WeakKeyDictionary

import msgspec
from msgspec.structs import replace

import mcproxy
from mcproxy import mcp
from mcproxy.config.model import Mode, Surface
from mcproxy.errors import RpcError
from mcproxy.exchange import ClientSession, Exchange, Negotiated, Tenant, drop, extensions_in
from mcproxy.foreign_text import one_line
from mcproxy.gateway.snapshot import Snapshot, View
from mcproxy.policy.access import Admitted, Policy
from mcproxy.policy.audit import Actor
from mcproxy.policy.namespaces import Namespace
from mcproxy.types import Caller, Json, JsonObject

LIST_TTL_MS = 5_000  # tool lists change when servers come and go

_object = msgspec.json.Decoder(dict[str, Json])
_encode = msgspec.json.Encoder().encode


class _Head(msgspec.Struct):
    resultType: Json = None


_head = msgspec.json.Decoder(_Head)


class Call(msgspec.Struct, frozen=True):
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


MAX_CLIENT_NAME = 60  # characters
_EXECUTION_BYTES = 6  # of an execution's name, which opens nothing


class RequestSource(msgspec.Struct, frozen=True):
    """Who asks, and the namespaces that path and header name; the path is the stronger.

    ``mode`` overrides the namespace's for this connection. ``admitted`` is the last verdict on the
    request, which is not asked for again where it answers what is asked now.
    """

    caller: Caller
    path: str | None = None
    header: str | None = None
    mode: Mode | None = None
    admitted: Admitted | None = None

    @property
    def asked(self) -> str | None:
        """The namespace that is asked for; None is the default one."""
        return self.path or self.header

    def verdict(self, policy: Policy) -> Admitted | None:
        """The last verdict, where it is on this caller and by the policy."""
        known = self.admitted
        if known is None or known.policy is not policy:
            return None
        same = known.caller is self.caller or known.caller == self.caller
        return known if same else None


class RequestContext(msgspec.Struct, frozen=True):
    """A request that was let in: the caller's name, the namespace, the surface that it is shown,
    and what it sees of the gateway's state, which stays as it was when the request began.

    ``view`` is the namespace's part of the snapshot; ``argument`` is the namespace that a
    meta-tool's arguments name. ``exchange`` is the way back.
    """

    source: RequestSource
    argument: str | None
    snapshot: Snapshot
    view: View
    caller: str
    namespace: Namespace
    surface: Surface
    exchange: Exchange

    def actor(self) -> Actor:
        """Whoever begins an execution now."""
        return Actor(self.caller, self.namespace.name, os.urandom(_EXECUTION_BYTES).hex())


class Clients:
    """The log levels that sessions have asked for. ``negotiated`` gives what holds for a client's
    requests, by the extensions that it declares."""

    def __init__(self, negotiated: Callable[[Mapping[str, JsonObject]], Negotiated]) -> None:
        self._negotiated, self._plain = negotiated, negotiated({})
        # What holds for sessions, which declare once what they know.
        self._settled: WeakKeyDictionary[ClientSession, tuple[Mapping[str, Json], Negotiated]] = (
            WeakKeyDictionary()
        )
        self._levels: WeakKeyDictionary[ClientSession, str] = WeakKeyDictionary()

    def set_log_level(self, session: ClientSession | None, level: Json) -> None:
        """A client said which log messages it wants. Raises RpcError for an unknown level."""
        checked = _level(level)
        if session:
            self._levels[session] = checked

    def exchange(self, call: Call, given: Exchange | None) -> Exchange:
        """The exchange of a request; ``given`` is the transport's, None where it has none.

        Raises RpcError for an unknown log level.
        """
        given = given or _NO_WAY
        if call.modern:
            level = None if call.log_level is None else _level(call.log_level)
            heard = mcp.LOG_LEVELS[mcp.LOG_LEVELS.index(level) :] if level else ()
            name = client_name(call.meta.get(mcp.META_CLIENT_INFO))
            given = replace(given, capabilities=call.capabilities, client=name)
        else:
            level = self._levels.get(given.session) if given.session else None
            # One that never said gets what servers choose to send.
            heard = mcp.LOG_LEVELS[mcp.LOG_LEVELS.index(level) :] if level else mcp.LOG_LEVELS
        notify = drop if given is _NO_WAY else _heard(given, heard)
        # Without a session, state is kept for this request only.
        tenant = given.session.tenant if given.session else Tenant()
        return replace(
            given,
            notify=notify,
            meta=call.meta,
            log_level=level,
            tenant=tenant,
            negotiated=self._settle(given) if given.capabilities else self._plain,
        )

    def _settle(self, given: Exchange) -> Negotiated:
        session, said = given.session, given.capabilities
        if mcp.EXTENSIONS not in said and mcp.EXPERIMENTAL not in said:
            return self._plain
        known = self._settled.get(session) if session else None
        if known and known[0] is said:
            return known[1]
        negotiated = self._negotiated(extensions_in(said))
        if session:
            self._settled[session] = said, negotiated
        return negotiated


def listener(session: ClientSession) -> Exchange:
    """The exchange of a client that only listens."""
    return Exchange(drop, _refuse, session, tenant=session.tenant)


def can_be_told(exchange: Exchange) -> bool:
    """Whether the client's transport has a way back to it."""
    return exchange.ask is not _refuse


def _heard(exchange: Exchange, levels: Sequence[str]) -> Callable[[str, JsonObject], None]:
    def notify(method: str, params: JsonObject) -> None:
        if method != mcp.LOG_MESSAGE or params.get("level") in levels:
            exchange.notify(method, params)

    return notify


def client_name(info: Json) -> str:
    """The name in an ``Implementation``, as one short line; "" where there is none."""
    name = info.get("name") if isinstance(info, dict) else None
    return one_line(name[:MAX_CLIENT_NAME]) if isinstance(name, str) else ""


def _level(level: Json) -> str:
    if level not in mcp.LOG_LEVELS:
        raise RpcError(
            RpcError.INVALID_PARAMS,
            f"there is no log level {level!r}; levels are {', '.join(mcp.LOG_LEVELS)}",
        )
    return str(level)


async def _refuse(method: str, params: JsonObject) -> JsonObject:
    raise RpcError(
        RpcError.METHOD_NOT_FOUND,
        f"the client cannot be asked for {method}: its request came by a way that has no way back; "
        "connect by /mcp or --stdio",
    )


_NO_WAY = Exchange(drop, _refuse)
"""The exchange of a client whose transport has no way back to it."""
