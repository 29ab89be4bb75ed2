"""What passes between a client and servers beside the calls of tools, and whose it is. No I/O.

``ServerCall`` and ``Upstream`` lead to servers; the ``Exchange`` leads back to the client, and is
given to each.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import ClassVar, Literal, Protocol, TypeAlias

import msgspec

from mcproxy import mcp
from mcproxy.cancellation import Clock
from mcproxy.errors import RpcError
from mcproxy.types import Discreet, Json, JsonObject, ToolRef, ToolResult


class Tenant(msgspec.Struct, frozen=True):
    """Whose state a server keeps apart from that of others: one caller's, in one namespace, until
    ``ended`` is set, which is when the client's session or, without one, the request has ended.

    Equal ones share their state; two of different sessions or requests are never equal. ``moved``:
    the session was at another gateway before, and what servers kept for it is gone.
    """

    ended: asyncio.Event = msgspec.field(default_factory=asyncio.Event)
    caller: str = ""
    namespace: str = ""
    moved: bool = False


class ClientSession(Discreet, frozen=True, eq=False, weakref=True):
    """A client's connection that outlives one request; as long as it is held, it is open.

    ``notify`` sends a notification that belongs to no request, and never waits. ``tenant``: whose
    state servers keep for it (caller and namespace are those of each request); the transport sets
    its ``ended`` when the connection is over. ``id`` is the same wherever the session goes on, and
    empty where it ends with this process.
    """

    notify: Callable[[str, JsonObject], None]
    tenant: Tenant = msgspec.field(default_factory=Tenant)
    id: str = ""
    hidden: ClassVar = frozenset({"id"})


class Negotiated(msgspec.Struct, frozen=True):
    """What holds of extensions (SEP-2133) for one request, by their identifiers.

    ``declared``: what its client says that it knows, with the settings. ``told``: what servers of
    the stateless era are told that it knows. ``result_types``: what their results may be beside
    complete, and ``unread``: extensions that the gateway does not know itself, whose results may be
    of any type where the server has declared them too. ``in_script``: the same for the calls of the
    client's scripts, where it is more than nothing.
    """

    declared: Mapping[str, JsonObject] = msgspec.field(default_factory=dict)
    told: Mapping[str, JsonObject] = msgspec.field(default_factory=dict)
    result_types: frozenset[str] = frozenset()
    unread: frozenset[str] = frozenset()
    in_script: "Negotiated | None" = None


NOTHING = Negotiated()


def extensions_in(capabilities: Mapping[str, Json]) -> dict[str, JsonObject]:
    """The extensions that a client or a server declares, each with its settings."""
    found: dict[str, JsonObject] = {}
    for member in (mcp.EXPERIMENTAL, mcp.EXTENSIONS):
        listed = capabilities.get(member)
        if isinstance(listed, dict):  # what has no prefix is an experiment, and no extension
            named = ((name, said) for name, said in listed.items() if "/" in name)
            found |= {name: said if isinstance(said, dict) else {} for name, said in named}
    return found


class RunningScript(msgspec.Struct, frozen=True):
    """A script that has begun: its execution, and what gives a handle by which the session that it
    belongs to is found without its connection."""

    execution: str
    handle: Callable[[], Awaitable[str]]


class Lasting(msgspec.Struct, frozen=True):
    """What a request may tell that can outlast its client's wait: that it takes long (``slow``),
    and which script it runs."""

    slow: Callable[[], None]
    script: Callable[[RunningScript], Awaitable[None]]


def may_own(extension: str, method: str) -> bool:
    """Whether a method, or a notification, can be an extension's that nobody here knows: it begins
    with its identifier, or with one of the two parts of that."""
    vendor, _, name = extension.partition("/")
    named = method.removeprefix("notifications/")
    if named.partition("/")[0] in mcp.RESERVED:
        return False
    return named.startswith((f"{extension}/", f"{vendor}/", f"{name}/"))


class Exchange(msgspec.Struct, frozen=True):
    """The way back to the client while one of its requests is being answered.

    ``notify`` sends a notification that belongs to the request (progress, log messages) and never
    waits. ``ask`` sends a server's request on to the client (sampling, elicitation, roots) and
    gives its result; it raises RpcError where the client cannot be asked. ``session`` is the
    connection that the request came by, where there is one, and ``capabilities`` is what the client
    says that it can be asked, for all its requests; ``client`` is the name that its program gives
    itself, "" where it gives none. A transport gives these.

    The others the gateway reads from the request: its ``_meta``, and for a stateless client its
    ``capabilities`` and its name; ``log_level``, the least severe level of log messages that the
    client wants, None where it does not say. ``retry`` is None unless the client takes
    ``input_required`` results itself: then they are passed on, and ``retry`` has the
    ``inputResponses`` and ``requestState`` with which it came back. ``tenant``: whose state servers
    keep apart. ``negotiated``: what holds of extensions.
    ``clock``: the limit within which its calls are made, where there is one. ``lasting``: there
    where the request can outlast its client's wait.
    """

    notify: Callable[[str, JsonObject], None]
    ask: Callable[[str, JsonObject], Awaitable[JsonObject]]
    session: ClientSession | None = None
    meta: Mapping[str, Json] = msgspec.field(default_factory=dict)
    capabilities: Mapping[str, Json] = msgspec.field(default_factory=dict)
    log_level: str | None = None
    retry: Mapping[str, Json] | None = None
    tenant: Tenant = msgspec.field(default_factory=Tenant)
    clock: Clock | None = None
    client: str = ""
    negotiated: Negotiated = NOTHING
    lasting: Lasting | None = None

    async def question(self, method: str, params: JsonObject) -> JsonObject:
        """Ask the client; the limits around what wants to know stand still. Raises RpcError."""
        with self.patience():
            return await self.ask(method, params)

    def patience(self) -> AbstractContextManager[None]:
        """Within, the limits around stand still: the client is asked, or about to be."""
        return self.clock.asking() if self.clock else nullcontext()


def not_declared(method: str) -> RpcError:
    """A server asks for what the client has not declared that it can be asked."""
    return RpcError(
        RpcError.METHOD_NOT_FOUND,
        f"the client cannot be asked for {method}: it has not declared the capability "
        f"{mcp.ASKABLE.get(method, method)!r}",
    )


def drop(method: str, params: JsonObject) -> None:
    """Notify a client to which there is no way."""


async def _refuse(method: str, params: JsonObject) -> JsonObject:
    text = f"{method} can be answered only while a client's request is running"
    raise RpcError(RpcError.INVALID_REQUEST, text)


NOBODY = Exchange(drop, _refuse)
"""Behind what we ask on behalf of no client, or of one that is not to hear of it."""


ServerCall: TypeAlias = Callable[[Exchange, ToolRef, Mapping[str, Json]], Awaitable[ToolResult]]
"""Calls a server's tool on behalf of the client behind the exchange; with that bound it is a
``CallTool``. Raises CallError."""


class Upstream(msgspec.Struct, frozen=True):
    """What else than tool calls the gateway asks of servers, each by the server's name.

    ``request(exchange, server, method, params)`` sends a request on behalf of the client behind
    the exchange and gives its raw result; ``list(server, method)`` gives all items of one of the
    server's lists, for instance ``prompts/list``, and remembers them until the server says that
    they changed. ``whose(server, tenant)`` gives whom alone the notifications about a resource are
    for that a tenant asks for: the tenant, or None where they are for everybody;
    ``watch(exchange, server, uri, whose)`` turns them on, ``unwatch(server, uri, whose)`` off. All
    but ``whose`` raise CallError.
    """

    request: Callable[[Exchange, str, str, Mapping[str, Json]], Awaitable[bytes]]
    list: Callable[[str, str], Awaitable[Sequence[JsonObject]]]
    whose: Callable[[str, Tenant], Tenant | None]
    watch: Callable[[Exchange, str, str, Tenant | None], Awaitable[None]]
    unwatch: Callable[[str, str, Tenant | None], Awaitable[None]]


class OpenSpan(Protocol):
    """Something that is being traced; ``exchange`` names it to all that happens within."""

    @property
    def exchange(self) -> Exchange:
        """The exchange to go on with."""

    def failed(self, code: str) -> None:
        """It did not succeed: one word for why."""


SpanKind: TypeAlias = Literal["request", "execution", "call"]
BeginSpan: TypeAlias = Callable[
    [SpanKind, str, Exchange, Mapping[str, str]], AbstractContextManager[OpenSpan]
]
"""Begins a span: its kind, its name, the exchange that it is part of, what is told of it."""
