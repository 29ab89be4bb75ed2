"""Asking a person before a call is sent, where a rule wants it.

The person is asked through the client; where that is not possible, or nobody answers, the call
waits among ``approval_records`` and fails meanwhile. A client is asked one question at a time, in
the order of the calls; clocks stand still. An answer holds for one call, or for the same call in
the same session, never for other arguments.
"""

import asyncio
from collections.abc import Mapping
from weakref import WeakKeyDictionary

import msgspec

from mcproxy import mcp
from mcproxy.call_errors import ApprovalNeeded, Declined
from mcproxy.errors import RpcError
from mcproxy.gateway.approval_records import ApprovalRecord, ApprovalRecords, new_record
from mcproxy.gateway.call_question import FOR_SESSION, call_digest, described, question
from mcproxy.gateway.journal import Permit
from mcproxy.gateway.keeping import Keeping, Owner
from mcproxy.gateway.request import RequestContext
from mcproxy.policy.audit import Actor, AuditLog, Decision
from mcproxy.types import Json, JsonObject, ToolRef


class _AskedCall(msgspec.Struct, frozen=True):
    """A call that waits for an answer; ``source``: the rule that wants it."""

    context: RequestContext
    owner: Owner
    ref: ToolRef
    arguments: Mapping[str, Json]
    source: str

    @property
    def whose(self) -> tuple[str, str]:
        """The caller and the namespace."""
        return self.context.caller, self.context.namespace.name

    @property
    def digest(self) -> str:
        """Stands for this call, and no other."""
        return call_digest(self.whose, self.ref, self.arguments)

    @property
    def words(self) -> str:
        """What a person is shown of it."""
        return described(self.ref, self.arguments, self.context.view.redactor.text)

    def record(self) -> ApprovalRecord:
        """The same for those who settle it later."""
        return new_record(self.whose, (self.ref.server, self.ref.tool), self.words, self.source)


class Approvals:
    """``keeping`` has what was answered for a session."""

    def __init__(self, records: ApprovalRecords, keeping: Keeping, audit: AuditLog | None) -> None:
        self._records, self._keeping, self._audit = records, keeping, audit
        # Of each session, or of a request without one.
        self._turns: WeakKeyDictionary[asyncio.Event, asyncio.Lock] = WeakKeyDictionary()

    async def of_client(self, context: RequestContext, who: Actor) -> Permit:
        """The same for a client's own call."""
        return self.permit(context, await self._keeping.owner(context, None), who)

    def permit(self, context: RequestContext, owner: Owner, who: Actor) -> Permit:
        """What each call of a script has to pass, where rules ask for any."""
        exchange = context.exchange
        turn = self._turns.setdefault(exchange.tenant.ended, asyncio.Lock())
        answers = True  # until a question has not been answered: then no other is asked

        async def permit(ref: ToolRef, arguments: Mapping[str, Json]) -> None:
            nonlocal answers
            ruling = context.view.ruling(ref)
            if ruling.verdict != "ask":
                return
            call = _AskedCall(context, owner, ref, arguments, ruling.source)
            with exchange.patience():
                async with turn:
                    decision = await self._known(call)
                    if decision is None and answers:
                        decision = await self._answer(call)
            answers = answers and decision is not None
            record = None if decision else await self._records.wait(call.digest, call.record())
            if self._audit:
                self._audit.decision(who, ref, arguments, decision or "waiting")
            if decision is None:
                raise ApprovalNeeded(ref, record.id if record else None)
            if decision in ("declined", "refused"):
                raise Declined(ref)

        return permit

    async def _known(self, call: _AskedCall) -> Decision | None:
        """What was said of the call before."""
        if await self._keeping.granted(call.owner, call.digest):
            return "granted"
        settled = await self._records.take(call.digest)
        if settled is None:
            return None
        return "approved" if settled == "used" else "refused"

    async def _answer(self, call: _AskedCall) -> Decision | None:
        """What the person behind the client says; None where nobody can be asked, or answers."""
        owner = call.owner
        lasting = owner.handle is None or owner.named
        asked = question(call.words, call.source, lasting=lasting)
        try:
            answer = await call.context.exchange.question(mcp.ELICIT, asked)
        except RpcError:
            return None
        decision = read_answer(answer)
        if decision == "session" and lasting:
            await self._keeping.grant(owner, call.digest)
        return decision


def read_answer(answer: JsonObject) -> Decision:
    """What an ``ElicitResult`` says; whatever is no clear yes is a no."""
    if answer.get("action") != "accept":
        return "declined"
    content = answer.get("content")
    for_session = isinstance(content, dict) and content.get(FOR_SESSION) is True
    return "session" if for_session else "once"
