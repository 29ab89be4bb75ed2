"""The two tools that a model sees: what ``search`` and ``execute`` do and how they answer.

Owns the shape of their results: content blocks are taken out of a script's value, and too much of
it is cut. Knows neither transports nor how a script is run: it is handed a
``RunCode`` and gives it the chain of ``call_chain`` for the script's calls.
"""

import asyncio
import dataclasses
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial

import msgspec
from msgspec.structs import replace

from mcproxy import mcp
from mcproxy.errors import Busy, InvalidArguments
from mcproxy.exchange import Exchange
from mcproxy.gateway.arguments import (
    ArgumentFault,
    ExecuteArguments,
    SearchArguments,
    read_search,
)
from mcproxy.gateway.call_chain import CallServices, Renewed, script_chain
from mcproxy.gateway.call_listing import listed_calls
from mcproxy.gateway.journal import Journal
from mcproxy.gateway.keeping import Keeping, Owner
from mcproxy.gateway.request import RequestContext
from mcproxy.manifest.lookup import schema
from mcproxy.manifest.reply_text import as_text, in_plain_words
from mcproxy.manifest.search import BadSearch, search
from mcproxy.manifest.written_calls import faults_of_written
from mcproxy.observe.activity import SeenExecution
from mcproxy.observe.shown_tokens import Kind
from mcproxy.policy.audit import Actor, actor
from mcproxy.policy.limits import places_of_execution
from mcproxy.types import Job, Json, JsonObject, Outcome, RunCode, ScriptError, ToolRef, ToolResult

MAX_RESULT_BYTES = 64 << 10
OWN = ""  # the server name under which a script reaches the gateway's own services
RETRY_AFTER = "mcproxy/retryAfter"  # in the ``_meta`` of a refusal: whole seconds
_NOTHING: Mapping[str, Json] = {}
_EXECUTE = ToolRef(OWN, "execute")
_BLOCKED = re.compile(r"\b((?:import of |os\.)\w{1,40}) is not available in scripts")

log = logging.getLogger(__name__)
_encode = msgspec.json.Encoder().encode


class MetaTools:
    """``search`` and ``execute``.

    ``searched`` is told each search that was answered.
    """

    def __init__(
        self,
        run: RunCode,
        services: CallServices,
        keeping: Keeping,
        renewed: Renewed,
        searched: Callable[[], None],
    ) -> None:
        self._keeping = keeping
        self._searched = searched
        self._run = run
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
        who = actor(context.caller, context.namespace.name)
        seen = SeenExecution(who.execution, who.caller, who.namespace, script=True)
        places = places_of_execution(context.namespace)
        try:
            async with self._services.enter(_EXECUTE, places, context.caller):
                result = await self._execute(arguments, self._renewed(context), who, seen)
        except Busy as busy:
            self._services.audit.execution(who, arguments.code, busy.code)
            self._services.activity.ended(seen, busy.code)
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
        limits = namespace.limits
        if arguments.timeout_secs is not None:
            if arguments.timeout_secs > limits.timeout_secs:
                raise ArgumentFault(
                    f"timeout_secs is at most {limits.timeout_secs:g} in namespace "
                    f"{namespace.name!r}; it can be left out."
                )
            limits = dataclasses.replace(limits, timeout_secs=arguments.timeout_secs)
        owner = await self._keeping.owner(context, arguments.session)
        journal = await self._keeping.journal(owner, who.execution, arguments, context.view)
        job = Job(
            arguments.code,
            limits,
            context.view.manifest_json,
            namespace.name,
            reading="only" if arguments.check_only else "first",
        )
        outcome = await self._run_recorded(job, context, who, seen, (journal, owner))
        if outcome.error and outcome.error.type == "CheckError":
            _log_refusal(outcome.error, namespace.name)
        self._ended(who, seen, arguments.code, outcome)
        told: JsonObject = {"execution": who.execution}
        if outcome.error and journal.began:
            await journal.kept()
            owner = await self._keeping.named(owner)
            outcome = dataclasses.replace(outcome, notes=(*outcome.notes, _how_to_go_on(who)))
        if owner.named and owner.handle:
            told["session"] = owner.handle
        return _outcome_result(outcome, told)

    async def _run_recorded(
        self,
        job: Job,
        context: RequestContext,
        who: Actor,
        seen: SeenExecution,
        kept: tuple[Journal, Owner],
    ) -> Outcome:
        journal, owner = kept
        exchange = _within_script(context.exchange).within(job.clock)
        context = replace(context, exchange=exchange)
        own = partial(self._own, context)
        try:
            approvals = self._services.approvals
            permit = approvals.permit(context, owner, who) if context.view.asks else None
            recorded = partial(journal.recorded, permit=permit)
            call = script_chain(context, self._services, who, seen, own, recorded)
            return await self._run(job, call)
        finally:
            journal.end()

    async def _own(
        self, context: RequestContext, ref: ToolRef, arguments: Mapping[str, Json]
    ) -> ToolResult:
        """Answer what a script asks of the gateway itself."""
        if ref.tool == "schema":
            server, tool = str(arguments.get("server")), str(arguments.get("tool"))
            returns = self._services.learning.returns
            definition = schema(context.view.manifest, server, tool, returns)
            return ToolResult(_encode({"content": [], "structuredContent": definition}))
        if ref.tool == "check":
            faults = faults_of_written(arguments.get("calls"), context.view.manifest)
            return ToolResult(_encode({"content": [], "structuredContent": {"faults": faults}}))
        try:
            found = await self._search(read_search(arguments), context)
        except ArgumentFault as fault:
            call = "api.search(query, max_depth=2, limit=None)"
            raise InvalidArguments(ref, [str(fault)], call) from fault
        return ToolResult(_encode({"content": [], "structuredContent": found}))

    async def _search(self, arguments: SearchArguments, context: RequestContext) -> JsonObject:
        manifest = context.view.manifest
        if not manifest.searchable:  # the first search of these servers: nobody else waits for it
            await asyncio.to_thread(manifest.make_searchable)
        try:
            found = search(
                manifest,
                arguments.query,
                namespace=context.namespace.name,
                max_depth=arguments.max_depth,
                limit=arguments.limit,
                returns=self._services.learning.returns,
            )
        except BadSearch as fault:
            raise ArgumentFault(str(fault)) from fault
        self._searched()
        return {key: context.view.redactor.prose(value) for key, value in found.items()}

    def _ended(self, who: Actor, seen: SeenExecution, code: str, outcome: Outcome) -> None:
        """Keep the record of a script, which has run or was refused."""
        self._services.audit.execution(who, code, outcome)
        self._services.activity.ended(seen, outcome.error.type if outcome.error else "success")

    def _shown(self, kind: Kind, result: JsonObject, context: RequestContext) -> JsonObject:
        """The result; what the client's model reads of it is counted."""
        match result:
            case {"content": [{"text": str(text)}, *_]}:
                tokens = self._services.activity.tokens
                tokens.sent(context.exchange.client, kind, text.encode())
        return result


def _how_to_go_on(who: Actor) -> str:
    again = f'execute(code=..., resume="{who.execution}")'
    return f"go on with {again} and the mended script: calls that succeeded are not sent again"


def _log_refusal(error: ScriptError, namespace: str) -> None:
    """Nothing that a script has written but the names that are blocked."""
    log.info(
        "sandbox: a script in namespace %s is blocked before it runs, line %s: %s",
        namespace,
        error.line,
        "; ".join(_BLOCKED.findall(error.message)) or "call(s) of tools that cannot work",
        extra={"namespace": namespace},
    )


def _within_script(exchange: Exchange) -> Exchange:
    """The exchange for a script's calls: of the request's ``_meta`` they have the progress token
    only, and what they want to know is asked while the script waits."""
    token = exchange.meta.get(mcp.META_PROGRESS_TOKEN)
    meta: JsonObject = {} if token is None else {mcp.META_PROGRESS_TOKEN: token}
    return replace(exchange, meta=meta, retry=None)


def fault_result(text: str, retry_after: int | None = None) -> JsonObject:
    """A ``CallToolResult`` that tells a model what to mend, and a client in how many seconds the
    same request may succeed, where that is known."""
    result: JsonObject = {"content": [{"type": "text", "text": text}], "isError": True}
    if retry_after is not None:
        result["_meta"] = {RETRY_AFTER: retry_after}
    return result


def _tool_result(body: JsonObject, text: str) -> JsonObject:
    return {"content": [{"type": "text", "text": text}], "structuredContent": body}


def _outcome_result(outcome: Outcome, told: Mapping[str, Json] = _NOTHING) -> JsonObject:
    value, blocks = take_blocks(outcome.value)
    shown, size = preview(value)
    body: JsonObject = {
        "status": "error" if outcome.error else "success",
        "result": shown,
        "stdout": outcome.stdout,
        "traceback": outcome.traceback,
        "error": _present(asdict(outcome.error)) if outcome.error else None,
        "calls": listed_calls(outcome.calls),
        "execution_time_ms": outcome.execution_time_ms,
        "notes": list(outcome.notes),
        **told,
    }
    if size is not None:
        body["truncated"] = {
            "bytes": size,
            "hint": f"The result is over {MAX_RESULT_BYTES} bytes, so this is a preview of it. "
            "Return less: filter, aggregate or slice inside the script.",
        }
    for name in ("stdout", "error", "calls", "notes"):
        if not body[name]:
            del body[name]
    result = _tool_result(body, _encode(body).decode())
    content = result["content"]
    if isinstance(content, list):
        content.extend(blocks)
    if outcome.error:
        result["isError"] = True
    return result


def _present(fields: JsonObject) -> JsonObject:
    return {name: value for name, value in fields.items() if value is not None}


def take_blocks(value: Json) -> tuple[Json, list[JsonObject]]:
    """Take image, audio and resource blocks out of a value.

    In their place stays what they are and which content block has them, so that a model sees where
    in its result they belong. Blocks are MCP's ``ContentBlock`` (server/tools, "Tool Result").
    """
    blocks: list[JsonObject] = []
    return _take(value, blocks), blocks


def _take(value: Json, blocks: list[JsonObject]) -> Json:
    if isinstance(value, list):
        return [_take(item, blocks) for item in value]
    if not isinstance(value, dict):
        return value
    if _is_block(value):
        blocks.append(value)
        shown: JsonObject = {key: value[key] for key in ("type", "mimeType") if key in value}
        return {**shown, "content_block": len(blocks)}
    return {key: _take(item, blocks) for key, item in value.items()}


def _is_block(value: Mapping[str, Json]) -> bool:
    match value.get("type"):
        case "image" | "audio":
            return isinstance(value.get("data"), str) and isinstance(value.get("mimeType"), str)
        case "resource":
            resource = value.get("resource")
            return isinstance(resource, dict) and isinstance(resource.get("uri"), str)
        case _:
            return False


def preview(value: Json, limit: int = MAX_RESULT_BYTES) -> tuple[Json, int | None]:
    """The value, or where its JSON is over ``limit`` bytes a preview of it and its real size.

    The preview is valid JSON below the limit: heads of strings, lists and objects, each cut marked
    with the real length.
    """
    size = len(_encode(value))
    if size <= limit:
        return value, None
    keep = 1000
    while True:
        cut = _head(value, keep, depth=12)
        if len(_encode(cut)) <= limit:
            return cut, size
        if keep == 1:
            return f"… ({size} bytes of {type(value).__name__})", size
        keep = max(1, keep // 2)


def _head(value: Json, keep: int, depth: int) -> Json:
    if isinstance(value, str):
        text = value[: keep * 8]
        return value if len(value) <= keep * 8 else f"{text}… ({len(value)} characters)"
    if isinstance(value, list):
        if depth == 0:
            return f"… (a list of {len(value)})"
        heads = [_head(item, keep, depth - 1) for item in value[:keep]]
        return heads if len(value) <= keep else [*heads, f"… ({len(value)} items)"]
    if isinstance(value, dict):
        if depth == 0:
            return f"… (an object of {len(value)} members)"
        items = list(value.items())[:keep]
        shown = {key[: keep * 8]: _head(item, keep, depth - 1) for key, item in items}
        return shown if len(value) <= keep else {**shown, "…": f"{len(value)} members"}
    return value
