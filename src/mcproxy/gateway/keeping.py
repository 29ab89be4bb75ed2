"""Whose the things are that outlive a request, and the executions that can be resumed.

All of it belongs to one caller, one namespace and one session: that of the connection, or the
handle that a request names. The handle of somebody else, an unknown one and an expired one are not
told apart.
"""

import json
import secrets
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from mcproxy.exchange import ClientSession
from mcproxy.gateway.arguments import ArgumentFault, ExecuteArguments
from mcproxy.gateway.journal import Journal, Past, StillRunning, executions, past_calls
from mcproxy.gateway.request import RequestContext
from mcproxy.gateway.snapshot import View
from mcproxy.store.interface import Store
from mcproxy.types import ToolRef

NEW_SESSION = "new"
_HANDLE = "session"  # the item that says that a handle was given out
_GRANTED = "granted/"  # before what stands for a call that a person allowed for the session
_HANDLE_BYTES = 12  # nobody guesses it, and it opens nothing of another caller's
_MAX_LISTED = 5


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose something is: ``key`` in the store, ``handle`` where a request has to name it."""

    key: str
    handle: str | None = None
    named: bool = False


class Keeping:
    """What is kept for the next script, for ``ttl_secs`` since its last use."""

    def __init__(self, store: Store, ttl_secs: float) -> None:
        self._store, self._ttl_secs = store, ttl_secs
        self._sessions: WeakKeyDictionary[ClientSession, str] = WeakKeyDictionary()

    async def owner(self, context: RequestContext, asked: str | None) -> Owner:
        """Whose the things of a request are; ``asked`` is the handle that it names. Raises
        ArgumentFault for one that is unknown."""
        session = context.exchange.session
        if asked is None and session is not None:
            known = self._sessions.setdefault(session, secrets.token_urlsafe(_HANDLE_BYTES))
            return Owner(_key(context, known))
        if asked is None or asked == NEW_SESSION:
            handle = secrets.token_urlsafe(_HANDLE_BYTES)
            owner = Owner(_key(context, handle), handle)
            return owner if asked is None else await self.named(owner)
        owner = Owner(_key(context, asked), asked, named=True)
        if await self._store.get(owner.key, _HANDLE) is None:
            raise ArgumentFault(
                'unknown session: it does not exist, or was not used for too long; session="new" '
                "makes one."
            )
        return owner

    async def named(self, owner: Owner) -> Owner:
        """The same, once its handle may be told: from now on a request can name it."""
        if owner.handle and not owner.named:
            await self._store.put(owner.key, _HANDLE, b"", self._ttl_secs)
        return Owner(owner.key, owner.handle, named=True)

    async def grant(self, owner: Owner, call: str) -> None:
        """A person allows this call for the session."""
        await self._store.put(owner.key, _GRANTED + call, b"", self._ttl_secs)

    async def granted(self, owner: Owner, call: str) -> bool:
        """Whether a person did."""
        return await self._store.get(owner.key, _GRANTED + call) is not None

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


def _key(context: RequestContext, session: str) -> str:
    return json.dumps([context.caller, context.namespace.name, session])


def _require_allowed(past: Past, view: View) -> None:
    """Refuse to go on from calls that the namespace does not allow any more."""
    for call in past:
        if view.ruling(ToolRef(call.server, call.tool)).verdict == "deny":
            raise ArgumentFault(
                f"the execution called {call.server}.{call.tool}, which this namespace does not "
                "have now; nothing was sent. Run the script without resume."
            )
