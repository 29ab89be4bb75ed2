"""The two tools that a model sees: what ``search`` and ``execute`` do and how they answer.

Knows neither transports nor how a script is run: it is handed a ``RunCode`` and gives it the chain
of ``call_chain`` for the script's calls.
"""

import asyncio
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Protocol

import msgspec
from msgspec.structs import replace

from mcproxy import mcp
from mcproxy.call_errors import Busy, InvalidArguments, StateUnavailable
from mcproxy.cancellation import Clock
from mcproxy.exchange import NOTHING, Exchange, RunningScript
from mcproxy.gateway.arguments import (
    ArgumentFault,
    ExecuteArguments,
    SearchArguments,
    faults_of_written,
    read_search,
)
from mcproxy.gateway.call_chain import CallServices, Renewed, script_chain
from mcproxy.gateway.journal import Journal
from mcproxy.gateway.keeping import KEPT_SERVICES, Keeping, Kept, Owner
from mcproxy.gateway.reply import References, Reply
from mcproxy.gateway.request import RequestContext
from mcproxy.gateway.spans import execution_spans
from mcproxy.manifest.model import schema
from mcproxy.manifest.reply_text import as_text, in_plain_words
from mcproxy.manifest.search import BadSearch, search
from mcproxy.observe.activity import Kind, SeenExecution
from mcproxy.policy.audit import Actor
from mcproxy.policy.namespaces import Namespace
from mcproxy.types import (
    CallTool,
    Job,
    Json,
    JsonObject,
    Limits,
    Outcome,
    RunCode,
    ScriptError,
    ToolRef,
    ToolResult,
)

OWN = ""  # the server name under which a script reaches the gateway's own services
_SCRIPT_META = (mcp.META_PROGRESS_TOKEN, *mcp.META_TRACE)
RETRY_AFTER = "mcproxy/retryAfter"  # in the ``_meta`` of a refusal: whole seconds
_EXECUTE = ToolRef(OWN, "execute")
SEARCHED_AT_ONCE = 2_000  # tools; a search of so many takes some 4 ms
_BLOCKED = re.compile(r"\b((?:import of |os\.)\w{1,40}) is not available in scripts")

log = logging.getLogger(__name__)
_encode = msgspec.json.Encoder().encode


class ScriptWatch(Protocol):
    """Looks on while a script runs, and has a say in its reply."""

    def around(self, call: CallTool) -> CallTool:
        """The same calls, seen."""

    async def completed(self, outcome: Outcome, reply: JsonObject) -> JsonObject:
        """The ``CallToolResult`` for the client, with what the watch adds."""


class MetaTools:
    """``search`` and ``execute``.

    ``searched`` is told each search that was answered; ``watch`` gives who looks on while a script
    runs, of those extensions that its client has declared.
    """

    def __init__(
        self,
        run: RunCode,
        services: CallServices,
        keeping: Keeping,
        renewed: Renewed,
        searched: Callable[[], None],
        watch: Callable[[RequestContext], Sequence[ScriptWatch]],
    ) -> None:
        self._watch = watch
        self._keeping = keeping
        self._searched = searched
        self._run = run
        self._run_script = execution_spans(services.begin, self._execute)
        self._services = services
        self._renewed = renewed

    async def search(self, arguments: SearchArguments, context: RequestContext) -> JsonObject:
        """Answer ``search`` as a ``CallToolResult``. Raises ArgumentFault."""
        found = await self._search(arguments, context)
        plain = context.surface == "call"
        text = as_text(found, plain=plain)
        told = in_plain_words(found) if plain else found
        return self._shown("search", _tool_result(told, text), context)

    async def execute(self, arguments: ExecuteArguments, context: RequestContext) -> JsonObject:
        """Answer ``execute`` as a ``CallToolResult``.

        Raises ArgumentFault, Busy where there was no place for it, and AccessDenied: after a wait
        it is the rules of then that count.
        """
        who = context.actor()
        seen = SeenExecution(who.execution, who.caller, who.namespace, script=True)
        places = tuple(member.name for member in context.namespace.members)
        try:
            async with self._services.enter(_EXECUTE, places, context.caller):
                result = await self._run_script(arguments, self._renewed(context), who, seen)
        except Busy as busy:
            self._ended(who, seen, arguments.code, busy.code, Outcome())
            raise
        finally:
            self._services.activity.stopped(seen)
        return self._shown("execute", result, context)

    async def _execute(
        self,
        arguments: ExecuteArguments,
        context: RequestContext,
        who: Actor,
        seen: SeenExecution,
    ) -> JsonObject:
        namespace = context.namespace
        limits = _limits(arguments, namespace)
        owner = await self._keeping.owner(context, arguments.session)
        journal = await self._keeping.journal(owner, who.execution, arguments, context.view)
        kept = self._keeping.kept(owner)
        job = Job(
            arguments.code,
            limits,
            context.view.manifest_json,
            namespace.name,
            reading="only" if arguments.check_only else "first",
        )
        watches = self._watch(context) if context.exchange.negotiated.declared else ()
        if lasting := context.exchange.lasting:
            handle = partial(self._keeping.handle, owner, context)
            await lasting.script(RunningScript(who.execution, handle))
        exchange = self._keeping.apart(owner, context.exchange)
        context = replace(context, exchange=_within_script(exchange, job.clock))
        try:
            chain = self._chain(context, who, seen, journal, kept)
            for each in watches:
                chain = each.around(chain)
            outcome = await self._run(job, chain)
        finally:
            journal.end()
        if outcome.error and outcome.error.type == "CheckError":
            _log_refusal(outcome.error, namespace.name)
        ending = outcome.error.type if outcome.error else "success"
        self._ended(who, seen, arguments.code, ending, outcome)
        to_resume = outcome.error is not None and journal.began
        if to_resume:
            outcome = _noted(outcome, await _resumable(journal, who))
        if names := _kept_for_nobody(owner, context, outcome):
            outcome = _noted(outcome, _how_to_keep(names))
        told = await self._told(outcome, kept, who.execution, to_resume=to_resume)
        for each in watches:
            told = await each.completed(outcome, told)
        return told

    def _chain(
        self,
        context: RequestContext,
        who: Actor,
        seen: SeenExecution,
        journal: Journal,
        kept: Kept,
    ) -> CallTool:
        approvals = self._services.approvals
        permit = approvals.permit(context, kept.owner, who) if context.view.asks else None
        recorded = partial(journal.recorded, permit=permit)
        own = partial(self._own, context, kept)
        return script_chain(context, self._services, who, seen, own, recorded)

    async def _told(
        self, outcome: Outcome, kept: Kept, execution: str, *, to_resume: bool
    ) -> JsonObject:
        """The reply, once what it does not show whole is kept; where something is to be found
        again, with the handle of the session. Where nothing can be kept, the reply says so: the
        script has run, and its client is to know what came of it."""
        try:
            return await self._told_and_kept(outcome, kept, execution, to_resume=to_resume)
        except StateUnavailable as fault:
            reply = Reply(_noted(outcome, _not_kept(fault)), self._keeping.inline_bytes)
            return reply.result({"execution": execution}, References())

    async def _told_and_kept(
        self, outcome: Outcome, kept: Kept, execution: str, *, to_resume: bool
    ) -> JsonObject:
        reply = Reply(outcome, self._keeping.inline_bytes)
        result = await kept.refer(reply.cut_result) if reply.cut_result else None
        stdout = await kept.refer(reply.cut_stdout) if reply.cut_stdout else None
        owner = kept.owner
        if to_resume or kept.added:
            owner = await self._keeping.named(owner)
        session = owner.handle if owner.named else None
        told: JsonObject = {"execution": execution}
        if session:
            told["session"] = session
        return reply.result(told, References(result, stdout, session))

    async def _own(
        self, context: RequestContext, kept: Kept, ref: ToolRef, arguments: Mapping[str, Json]
    ) -> ToolResult:
        """Answer what a script asks of the gateway itself."""
        if ref.tool in KEPT_SERVICES:
            return await kept.answer(ref, arguments)
        if ref.tool == "schema":
            server, tool = str(arguments.get("server")), str(arguments.get("tool"))
            returns = self._services.learning.returns
            definition = schema(context.view.manifest, server, tool, returns)
            return _structured(definition)
        if ref.tool == "check":
            faults = faults_of_written(arguments.get("calls"), context.view.manifest)
            return _structured({"faults": faults})
        try:
            found = await self._search(read_search(arguments), context)
        except ArgumentFault as fault:
            call = "api.search(query, max_depth=2, limit=None)"
            raise InvalidArguments(ref, [str(fault)], call) from fault
        return _structured(found)

    async def _search(self, arguments: SearchArguments, context: RequestContext) -> JsonObject:
        manifest = context.view.manifest
        work = partial(
            search,
            manifest,
            arguments.query,
            namespace=context.namespace.name,
            max_depth=arguments.max_depth,
            limit=arguments.limit,
            returns=self._services.learning.returns,
        )
        # A search of many tools, and the first of any, takes long: nobody else waits for it.
        apart = not manifest.searchable or manifest.tool_count > SEARCHED_AT_ONCE
        try:
            found = await asyncio.to_thread(work) if apart else work()
        except BadSearch as fault:
            raise ArgumentFault(str(fault)) from fault
        self._searched()
        return {key: context.view.redactor.prose(value) for key, value in found.items()}

    def _ended(
        self, who: Actor, seen: SeenExecution, code: str, ending: str, outcome: Outcome
    ) -> None:
        """Keep the record of a script, which has run or was refused."""
        if audit := self._services.audit:
            audit.execution(who, code, ending, outcome)
        self._services.activity.ended(seen, ending)

    def _shown(self, kind: Kind, result: JsonObject, context: RequestContext) -> JsonObject:
        """The result; what the client's model reads of it is counted."""
        match result:
            case {"content": [{"text": str(text)}, *_]}:
                tokens = self._services.activity.tokens
                tokens.sent(context.exchange.client, kind, text.encode())
        return result


def _limits(arguments: ExecuteArguments, namespace: Namespace) -> Limits:
    """The limits of one script. Raises ArgumentFault for more time than the namespace allows."""
    limits, secs = namespace.limits, arguments.timeout_secs
    if secs is None:
        return limits
    if secs > limits.timeout_secs:
        raise ArgumentFault(
            f"timeout_secs is at most {limits.timeout_secs:g} in namespace {namespace.name!r}; it "
            "can be left out."
        )
    return msgspec.structs.replace(limits, timeout_secs=secs)


def _noted(outcome: Outcome, note: str) -> Outcome:
    return msgspec.structs.replace(outcome, notes=(note, *outcome.notes))


def _not_kept(fault: StateUnavailable) -> str:
    return f"nothing of this reply is kept for later: {fault.message}"


async def _resumable(journal: Journal, who: Actor) -> str:
    try:
        await journal.kept()
    except StateUnavailable as fault:
        return _not_kept(fault)
    return _how_to_go_on(who)


def _how_to_go_on(who: Actor) -> str:
    return f'mend it and pass resume="{who.execution}": calls that succeeded are not sent again'


def _kept_for_nobody(owner: Owner, context: RequestContext, outcome: Outcome) -> list[str]:
    """The servers called that keep state for a client, where the request has no session."""
    if owner.handle is None or owner.named:
        return []
    return sorted({call.server for call in outcome.calls} & context.view.per_client)


def _how_to_keep(servers: Sequence[str]) -> str:
    kept = f"what {', '.join(servers)} kept ended with this request"
    return f'{kept}; session="new" gives a handle that later requests pass to keep it'


def _log_refusal(error: ScriptError, namespace: str) -> None:
    """Nothing that a script has written but the names that are blocked."""
    log.info(
        "sandbox: a script in namespace %s is blocked before it runs, line %s: %s",
        namespace,
        error.line,
        "; ".join(_BLOCKED.findall(error.message)) or "call(s) of tools that cannot work",
        extra={"namespace": namespace},
    )


def _within_script(exchange: Exchange, clock: Clock) -> Exchange:
    """The exchange for a script's calls: of the request's ``_meta`` they have the progress token
    and the trace only, and what they want to know is asked while the script waits."""
    sent = exchange.meta
    meta: JsonObject = {key: sent[key] for key in _SCRIPT_META if sent.get(key) is not None}
    negotiated = exchange.negotiated.in_script or NOTHING
    return replace(
        exchange, meta=meta, retry=None, negotiated=negotiated, lasting=None, clock=clock
    )


def fault_result(text: str, retry_after: int | None = None) -> JsonObject:
    """A ``CallToolResult`` that tells a model what to mend, and a client in how many seconds the
    same request may succeed, where that is known."""
    result: JsonObject = {"content": [{"type": "text", "text": text}], "isError": True}
    if retry_after is not None:
        result["_meta"] = {RETRY_AFTER: retry_after}
    return result


def _structured(value: JsonObject) -> ToolResult:
    return ToolResult(_encode({"content": [], "structuredContent": value}))


def _tool_result(body: JsonObject, text: str) -> JsonObject:
    return {"content": [{"type": "text", "text": text}], "structuredContent": body}
