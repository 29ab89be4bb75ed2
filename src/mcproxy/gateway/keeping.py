"""Whose the things are that outlive a request: results, the stash, executions to be resumed.

All of it belongs to one caller, one namespace and one session: that of the connection, or the
handle that a request names. The handle of somebody else, an unknown one and an expired one are not
told apart.
"""

import asyncio
import hashlib
import json
import secrets
from collections.abc import Mapping
from functools import lru_cache
from weakref import WeakKeyDictionary

import msgspec
from msgspec.structs import replace

from mcproxy.call_errors import InvalidArguments, NotKept
from mcproxy.exchange import ClientSession, Exchange
from mcproxy.gateway.arguments import ArgumentFault, ExecuteArguments
from mcproxy.gateway.journal import Journal, Past, StillRunning, executions, past_calls
from mcproxy.gateway.request import RequestContext
from mcproxy.gateway.snapshot import View
from mcproxy.store.interface import Store
from mcproxy.types import Json, ToolRef, ToolResult

NEW_SESSION = "new"
_SESSION = "session"  # the item that says that there is one; the number of its last reference
_GRANTED = "granted/"  # before what stands for a call that a person allowed for the session
_HANDLE_BYTES = 12  # nobody guesses it, and it opens nothing of another caller's
_MAX_LISTED = 5
_COUNT_TTLS = 24  # where no handle ends with it: a model may still know an old reference
_RESULT, _STASH = "result/", "stash/"
_WRITTEN = {_RESULT: "api.result", _STASH: "api.stash"}
KEPT_SERVICES = ("result", "stash_get", "stash_put", "stash_delete", "stash_list")
_MAX_NAME_CHARS = 200
_MAX_HANDLES = 1000  # with processes of their own; of more, those of the oldest end


class Owner(msgspec.Struct, frozen=True):
    """Whose something is: ``key`` in the store, ``handle`` where a request has to name it."""

    key: str
    handle: str | None = None
    named: bool = False

    @property
    def session(self) -> str:
        """The key for the session itself, apart: what it keeps takes no room from it."""
        return f"{self.key}/{_SESSION}"


class Keeping:
    """What is kept for the next script, for ``ttl_secs`` since its last use; a reply of more than
    ``inline_bytes`` is shortened, and the whole kept."""

    def __init__(self, store: Store, ttl_secs: float, inline_bytes: int) -> None:
        self._store, self._ttl_secs = store, ttl_secs
        self.inline_bytes = inline_bytes
        self._sessions: WeakKeyDictionary[ClientSession, str] = WeakKeyDictionary()
        self._ends: dict[str, tuple[asyncio.Event, asyncio.TimerHandle]] = {}

    async def owner(self, context: RequestContext, asked: str | None) -> Owner:
        """Whose the things of a request are; ``asked`` is the handle that it names. Raises
        ArgumentFault for one that is unknown."""
        session = context.exchange.session
        if asked is None and session is not None:
            known = self._sessions.get(session)
            if known is None:
                known = self._sessions[session] = _handle_of(session)
            return Owner(_key(context.caller, context.namespace.name, known))
        if asked is None or asked == NEW_SESSION:
            handle = secrets.token_urlsafe(_HANDLE_BYTES)
            owner = Owner(_key(context.caller, context.namespace.name, handle), handle)
            return owner if asked is None else await self.named(owner)
        owner = Owner(_key(context.caller, context.namespace.name, asked), asked, named=True)
        if await self._store.get(owner.session, _SESSION) is None:
            raise ArgumentFault(
                'unknown session: it does not exist, or was not used for too long; session="new" '
                "makes one."
            )
        return owner

    async def named(self, owner: Owner) -> Owner:
        """The same, once its handle may be told: from now on a request can name it."""
        if owner.handle and not owner.named:
            await self._store.update(
                owner.session, _SESSION, lambda last: last or b"0", self._ttl_secs
            )
        return Owner(owner.key, owner.handle, named=True)

    async def handle(self, owner: Owner, context: RequestContext) -> str:
        """A handle by which the owner is found without its connection."""
        session = context.exchange.session
        handle = owner.handle or (self._sessions[session] if session else "")
        await self.named(Owner(owner.key, handle))
        return handle

    async def grant(self, owner: Owner, call: str) -> None:
        """A person allows this call for the session."""
        await self._store.put(owner.key, _GRANTED + call, b"", self._ttl_secs)

    async def granted(self, owner: Owner, call: str) -> bool:
        """Whether a person did."""
        return await self._store.get(owner.key, _GRANTED + call) is not None

    def apart(self, owner: Owner, exchange: Exchange) -> Exchange:
        """The exchange of a script: what servers keep for it is that of the session whose handle
        the request names, and lasts as long."""
        if not owner.handle or not owner.named:
            return exchange
        ended, timer = self._ends.pop(owner.key, (asyncio.Event(), None))
        if timer:
            timer.cancel()
        later = asyncio.get_running_loop().call_later(self._ttl_secs, self._end, owner.key)
        self._ends[owner.key] = ended, later
        if len(self._ends) > _MAX_HANDLES:
            self._end(next(iter(self._ends)))
        return replace(exchange, tenant=replace(exchange.tenant, ended=ended))

    def _end(self, key: str) -> None:
        ended, timer = self._ends.pop(key)
        timer.cancel()
        ended.set()

    def kept(self, owner: Owner) -> "Kept":
        """The results and the stash of an owner."""
        return Kept(self._store, owner, self._ttl_secs)

    async def result(self, context: RequestContext, ref: str, handle: str | None) -> bytes | None:
        """The value behind a reference, for a request that reads it; None where the client has
        none, in the session that it names."""
        if handle == NEW_SESSION or not (handle or context.exchange.session):
            return None  # what begins with this request has nothing
        try:
            owner = await self.owner(context, handle)
        except ArgumentFault:
            return None
        return await self.kept(owner).result(ref)

    async def journal(
        self, owner: Owner, execution: str, arguments: ExecuteArguments, view: View
    ) -> Journal:
        """The record of an execution that begins, with what it resumes. Raises ArgumentFault for
        what cannot be resumed."""

        def repeatable(ref: ToolRef) -> bool:
            part = view.manifest.parts.get(ref.server)
            schema = part.schemas.get(ref.tool) if part else None
            return schema is not None and schema.repeatable

        journal = Journal(self._store, owner.key, execution, self._ttl_secs, repeatable)
        if arguments.resume is not None:
            past = await self._past(owner, arguments.resume)
            _require_allowed(past, view)
            journal.resume(past, arguments.resume_unknown)
        return journal

    async def _past(self, owner: Owner, execution: str) -> Past:
        try:
            past = await past_calls(self._store, owner.key, execution)
        except StillRunning as running:
            raise ArgumentFault(
                f"execution {execution!r} is still running: resume it when it has ended."
            ) from running
        if past is not None:
            return past
        known = await executions(self._store, owner.key)
        listed = ", ".join(map(repr, known[-_MAX_LISTED:])) or "none"
        raise ArgumentFault(
            f"there is no record of execution {execution[:100]!r} in this session; those with "
            f"calls are: {listed}."
        )


class Kept:
    """What one owner keeps by reference (``r1``, ``r2`` …) and by name, as JSON text in which
    nobody looks. ``added``: something came to it."""

    def __init__(self, store: Store, owner: Owner, ttl_secs: float) -> None:
        self._store, self._key, self._ttl_secs = store, owner.key, ttl_secs
        self._session_secs = ttl_secs if owner.handle else _COUNT_TTLS * ttl_secs
        self.owner = owner
        self.added = False

    async def refer(self, text: bytes) -> str:
        """Keep a value; gives its reference."""
        self.added = True
        last = await self._store.update(
            self.owner.session, _SESSION, _next_number, self._session_secs
        )
        ref = f"r{last.decode()}"
        await self._store.put(self._key, _RESULT + ref, text, self._ttl_secs)
        await self._used()
        return ref

    async def result(self, ref: str) -> bytes | None:
        """The value behind a reference; None where there is none."""
        return await self._value(_RESULT, ref)

    async def answer(self, ref: ToolRef, arguments: Mapping[str, Json]) -> ToolResult:
        """Answer what a script asks of what is kept. Raises NotKept, InvalidArguments."""
        match ref.tool:
            case "result":
                return await self._found(ref, _RESULT, str(arguments.get("ref")))
            case "stash_get":
                return await self._found(ref, _STASH, str(arguments.get("name")))
            case "stash_put":
                return await self._put(ref, str(arguments.get("name")), arguments.get("json"))
            case "stash_delete":
                return await self._deleted(ref, str(arguments.get("name")))
            case _:
                return _valued(json.dumps(await self._names(_STASH)).encode())

    async def _found(self, ref: ToolRef, kind: str, name: str) -> ToolResult:
        text = await self._value(kind, name)
        if text is None:
            raise NotKept(ref, _WRITTEN[kind], name, await self._names(kind))
        return _valued(text)

    async def _put(self, ref: ToolRef, name: str, text: Json) -> ToolResult:
        if not (0 < len(name) <= _MAX_NAME_CHARS and isinstance(text, str)):
            fault = f"a name has 1 to {_MAX_NAME_CHARS} characters"
            raise InvalidArguments(ref, [fault], 'api.stash["rows"] = rows')
        self.added = True
        await self._store.put(self._key, _STASH + name, text.encode(), self._ttl_secs)
        return _NULL

    async def _deleted(self, ref: ToolRef, name: str) -> ToolResult:
        if not await self._store.remove(self._key, _STASH + name):
            raise NotKept(ref, _WRITTEN[_STASH], name, await self._names(_STASH))
        return _NULL

    async def _value(self, kind: str, name: str) -> bytes | None:
        text = await self._store.get(self._key, kind + name)
        await self._used()
        return text

    async def _names(self, kind: str) -> list[str]:
        keys = await self._store.keys(self._key, kind)
        return [key.removeprefix(kind) for key in keys]

    async def _used(self) -> None:
        """The count is used with what it counted: were it older, it could go first, and a
        reference be given out a second time."""
        await self._store.get(self.owner.session, _SESSION)


def _handle_of(session: ClientSession) -> str:
    """What stands for a client's session: the same at every gateway that serves it."""
    if not session.id:
        return secrets.token_urlsafe(_HANDLE_BYTES)
    return hashlib.sha256(session.id.encode()).hexdigest()[: 2 * _HANDLE_BYTES]


def _next_number(last: bytes | None) -> bytes:
    return b"%d" % (int(last or b"0") + 1)


def _valued(text: bytes) -> ToolResult:
    """JSON text as what a tool gives; in an object, since it may be null."""
    raw = b'{"content":[],"structuredContent":{"result":%b}}' % text
    return ToolResult(raw, wrapping="always")


_NULL = _valued(b"null")


@lru_cache(maxsize=1024)
def _key(caller: str, namespace: str, session: str) -> str:
    return json.dumps([caller, namespace, session])


def _require_allowed(past: Past, view: View) -> None:
    """Refuse to go on from calls that the namespace does not allow any more."""
    for call in past:
        if view.ruling(ToolRef(call.server, call.tool)).verdict == "deny":
            raise ArgumentFault(
                f"the execution called {call.server}.{call.tool}, which this namespace does not "
                "have now; nothing was sent. Run the script without resume."
            )
