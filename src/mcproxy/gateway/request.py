"""What travels with a request: who asks, what is open to it there, and the way back to its client.

The context is made once for each request and handed on; nothing else says who asks. The rules by
which it was made hold for it as long as it does not wait: see ``Gateway.renewed``.

A client of the handshake era says once for its session which log messages it wants; a stateless
one says it with each request. Sessions are held weakly: what is known of one goes with it.
"""

from collections.abc import Callable, Sequence
from weakref import WeakKeyDictionary

import msgspec
from msgspec.structs import replace

from mcproxy import mcp
from mcproxy.config.model import Mode, Surface
from mcproxy.errors import RpcError
from mcproxy.exchange import ClientSession, Exchange, Tenant, drop
from mcproxy.foreign_text import one_line
from mcproxy.gateway.protocol_era import Call
from mcproxy.gateway.snapshot import Snapshot, View
from mcproxy.policy.access import Admitted
from mcproxy.policy.namespaces import Namespace
from mcproxy.types import Caller, Json, JsonObject

MAX_CLIENT_NAME = 60  # characters


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


class RequestContext(msgspec.Struct, frozen=True):
    """A request that was let in: the caller's name, the namespace, the surface that it is shown,
    and what it sees of the gateway's state, which stays as it was when the request began.

    ``argument`` is the namespace that a meta-tool's arguments name. ``exchange`` is the way back.
    """

    source: RequestSource
    argument: str | None
    snapshot: Snapshot
    caller: str
    namespace: Namespace
    surface: Surface
    exchange: Exchange

    @property
    def view(self) -> View:
        """The namespace's part of the manifest."""
        return self.snapshot.views[self.namespace.name]


class Clients:
    """The log levels that sessions have asked for."""

    def __init__(self) -> None:
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
        given = given or Exchange(drop, _refuse)
        if call.modern:
            level = None if call.log_level is None else _level(call.log_level)
            heard = mcp.LOG_LEVELS[mcp.LOG_LEVELS.index(level) :] if level else ()
            name = client_name(call.meta.get(mcp.META_CLIENT_INFO))
            given = replace(given, capabilities=call.capabilities, client=name)
        else:
            level = self._levels.get(given.session) if given.session else None
            # One that never said gets what servers choose to send.
            heard = mcp.LOG_LEVELS[mcp.LOG_LEVELS.index(level) if level else 0 :]
        notify = _heard(given, heard)
        # Without a session, state is kept for this request only.
        tenant = Tenant(given.session.ended) if given.session else Tenant()
        return replace(given, notify=notify, meta=call.meta, log_level=level, tenant=tenant)


def listener(session: ClientSession) -> Exchange:
    """The exchange of a client that only listens."""
    return Exchange(drop, _refuse, session, tenant=Tenant(session.ended))


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
