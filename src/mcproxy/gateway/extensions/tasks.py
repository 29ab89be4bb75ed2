"""Tasks: calls of tools whose result the client gets later, in both eras.

MCP 2025-11-25, basic/utilities/tasks: the client asks for a task with its call, looks how it is
(``tasks/get``) and waits for what it gave (``tasks/result``), on which it is asked what the call
wants to know. SEP-2663, an extension of 2026-07-28: who declares it may get a task in place of any
result; ``tasks/get`` has what it gave and what it wants, ``tasks/update`` takes the answers.

The gateway makes tasks itself, of scripts and of calls of any server's tool, so that all clients
have them whatever their servers know: in the one era where the client asks, in the other of what
takes long. What its own servers make tasks of, it awaits (``upstream/protocol/server_tasks.py``).
"""

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import cast

import msgspec
from msgspec.structs import replace

from mcproxy import mcp
from mcproxy.call_errors import StateUnavailable
from mcproxy.config.model import ANONYMOUS
from mcproxy.errors import RpcError
from mcproxy.exchange import Exchange, extensions_in
from mcproxy.gateway.extensions.extension import Answer, Extension
from mcproxy.gateway.extensions.task_table import (
    FoundTask,
    RunningTask,
    Settle,
    TaskTable,
    owner_of,
)
from mcproxy.gateway.input_rounds import Keep
from mcproxy.gateway.listings import direct_tools
from mcproxy.gateway.request import Call, RequestContext
from mcproxy.gateway.server_requests import page
from mcproxy.gateway.surfaces import OWN_TOOLS
from mcproxy.gateway.suspended_call import SuspendedCall
from mcproxy.gateway.tool_calls import own_tool
from mcproxy.types import Json, JsonObject

POLL_MS = 1000  # how often a client is to look; a look costs little
MAX_ID_SHOWN = 80  # characters of an id that is not known
_BY_ANY = ("execute", "call")  # of the gateway's own tools, those that may take long

_encode = msgspec.json.Encoder().encode
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


class ClientTasks:
    """The methods of tasks, and how a call becomes one."""

    def __init__(self, table: TaskTable) -> None:
        self._table = table
        methods: Mapping[str, Answer] = {
            mcp.GET_TASK: self._get,
            mcp.TASK_RESULT: self._result,
            mcp.UPDATE_TASK: self._update,
            mcp.CANCEL_TASK: self._cancel,
            mcp.LIST_TASKS: self._list,
        }
        reached = {name: _reaching_state(method) for name, method in methods.items()}
        self.extension = Extension(mcp.TASKS, lambda context, declared: {}, reached)

    @property
    def under_way(self) -> int:
        """How many tasks run in this process."""
        return self._table.under_way

    def keeper(self, call: Call, context: RequestContext, settle: Settle) -> Keep:
        """What keeps a call that takes long, of the stateless era."""

        async def keep(running: SuspendedCall) -> bytes | None:
            try:
                task = await self._table.create(owner_of(context), None)
            except (RpcError, StateUnavailable):
                return None  # it is waited for, as without tasks
            try:
                await self._table.attach(task, running, None, settle)
            except asyncio.CancelledError:
                self._table.cancel(task, "its client left before it heard of it")
                raise
            found = FoundTask(task.record, task)
            return call.result({**_told(found, modern=True), "resultType": mcp.TASK})

        return keep

    async def begin(
        self,
        call: Call,
        context: RequestContext,
        start: Callable[[], SuspendedCall],
        settle: Settle,
    ) -> bytes:
        """Answer a call that asks for a task, of the handshake era. Raises RpcError where its tool
        cannot be one, or there are too many."""
        name = call.params.get("name")
        if not _may_be_a_task(name, context):
            text = f"{str(name)[:MAX_ID_SHOWN]} cannot be called as a task: call it without `task`"
            raise RpcError(RpcError.METHOD_NOT_FOUND, text)
        wished = call.params.get(mcp.TASK)
        ttl = wished.get("ttl") if isinstance(wished, dict) else None
        task = await self._table.create(owner_of(context), ttl)
        await self._table.attach(task, start(), _told_later(context.exchange), settle)
        return call.result({mcp.TASK: _told(FoundTask(task.record, task), modern=False)})

    async def _get(self, call: Call, context: RequestContext) -> bytes:
        _require(call)
        found = await self._found(call, context)
        told = _told(found, modern=call.modern)
        if call.modern:
            told |= _gave(found)
        return call.result(told)

    async def _update(self, call: Call, context: RequestContext) -> bytes:
        _require(call, modern=True)
        found = await self._found(call, context)
        _require_here(found)
        responses = call.params.get("inputResponses")
        if found.running and found.running.call and isinstance(responses, dict):
            found.running.call.give(responses)
        return call.result({})

    async def _cancel(self, call: Call, context: RequestContext) -> bytes:
        _require(call)
        found = await self._found(call, context)
        _require_here(found)
        if found.running:
            record = self._table.cancel(found.running, "cancelled as its client wished")
            await self._table.kept(found.running)
            found = FoundTask(record)
        elif not call.modern:
            text = f"the task has ended already: it is {found.record.status}"
            raise RpcError(RpcError.INVALID_PARAMS, text)
        return call.result({} if call.modern else _told(found, modern=False))

    async def _result(self, call: Call, context: RequestContext) -> bytes:
        _require(call, modern=False)
        found = await self._found(call, context)
        while found.record.status == "working":  # its time to live bounds it
            if found.running and found.running.call:
                await _until_ended(found.running, found.running.call, context.exchange)
            else:  # another gateway runs it
                await asyncio.sleep(POLL_MS / 1000)
            found = await self._found(call, context)
        record = found.record
        if record.status == "cancelled":
            raise RpcError(RpcError.INVALID_REQUEST, f"the task was cancelled: {record.message}")
        if record.error:
            raise RpcError(
                int(str(record.error["code"])),
                str(record.error["message"]),
                record.error.get("data"),
            )
        return _related(found.result, record.id)

    async def _list(self, call: Call, context: RequestContext) -> bytes:
        _require(call, modern=False)
        if context.caller == ANONYMOUS:
            text = "tasks are listed for callers with a token only: the others are not told apart"
            raise RpcError(RpcError.METHOD_NOT_FOUND, text)
        found = await self._table.list(owner_of(context))
        told = [_told(one, modern=False) for one in found]
        return call.result(page("tasks", told, call.params.get("cursor")))

    async def _found(self, call: Call, context: RequestContext) -> FoundTask:
        id_, found = call.params.get("taskId"), None
        if isinstance(id_, str) and len(id_) <= MAX_ID_SHOWN:  # ours are shorter
            found = await self._table.find(owner_of(context), id_)
        if found is None:
            text = (
                f"there is no task {str(id_)[:MAX_ID_SHOWN]!r}: it never was, its time to live has "
                "passed, or it is not yours"
            )
            raise RpcError(RpcError.INVALID_PARAMS, text)
        return found


def capability(context: RequestContext) -> JsonObject:
    """The member of ``ServerCapabilities`` for tasks, of 2025-11-25."""
    told: JsonObject = {"cancel": {}, "requests": {"tools": {"call": {}}}}
    return {"tasks": told if context.caller == ANONYMOUS else {**told, "list": {}}}


def with_support(tools: Sequence[JsonObject], context: RequestContext) -> list[JsonObject]:
    """The tools as a client of the handshake era sees them: those that can be called as tasks say
    so. None has to be, since the gateway awaits what its servers make."""
    own = {context.view.prefix + name for name in OWN_TOOLS[context.surface] if name in _BY_ANY}
    return [
        {**tool, "execution": {"taskSupport": "optional"}}
        if tool["name"] in own or _supports(tool)
        else tool
        for tool in tools
    ]


def _may_be_a_task(name: Json, context: RequestContext) -> bool:
    if own := own_tool(name, context.surface, context.view.prefix):
        return own in _BY_ANY
    tool = direct_tools(context.view, context.surface).get(str(name))
    return tool is not None and _supports(tool.definition)


def _supports(definition: Mapping[str, Json]) -> bool:
    match definition.get("execution"):
        case {"taskSupport": "optional" | "required"}:
            return True
    return False


def _require(call: Call, *, modern: bool | None = None) -> None:
    """Raises RpcError where the era has not this method, or the client does not declare tasks."""
    if modern is not None and call.modern != modern:
        era = "2026-07-28" if call.modern else "before 2026-07-28"
        raise RpcError(RpcError.METHOD_NOT_FOUND, f"protocol {era} has no such method of tasks")
    if call.modern:
        require_declared(call)


def require_declared(call: Call) -> None:
    """Raises RpcError where the request of a stateless client does not declare tasks."""
    if mcp.TASKS not in extensions_in(call.capabilities):
        required: JsonObject = {"extensions": {mcp.TASKS: {}}}
        text = f"the client has not declared the extension {mcp.TASKS}"
        raise RpcError(mcp.MISSING_CLIENT_CAPABILITY, text, {"requiredCapabilities": required})


def _require_here(found: FoundTask) -> None:
    """Raises RpcError for a task that another process of the gateway runs."""
    if found.record.status == "working" and not found.running:
        text = "another gateway runs this task; send this to that one (Mcp-Name has the task's id)"
        raise RpcError(RpcError.INTERNAL_ERROR, text)


def _reaching_state(answer: Answer) -> Answer:
    """The same; where the state that gateways share cannot be reached, it is an RpcError."""

    async def reaching(call: Call, context: RequestContext) -> bytes:
        try:
            return await answer(call, context)
        except StateUnavailable as fault:
            secs = math.ceil(fault.retry_after or 0)
            raise RpcError(RpcError.INTERNAL_ERROR, fault.message, retry_after=secs) from fault

    return reaching


def _told_later(exchange: Exchange) -> Exchange | None:
    """Where a session hears of what goes on after the reply."""
    return replace(exchange, notify=exchange.session.notify) if exchange.session else None


async def _until_ended(task: RunningTask, call: SuspendedCall, exchange: Exchange) -> None:
    """Wait for the end, and ask the client what the call wants to know."""
    async with task.asking:
        while (wanted := await call.turn()) is not None:
            for key, asked in wanted.items():
                if isinstance(asked, dict) and isinstance(asked["params"], dict):
                    params = {**asked["params"], "_meta": _relation(task.record.id)}
                    try:
                        call.give({key: await exchange.question(str(asked["method"]), params)})
                    except RpcError as error:
                        call.refuse(key, error)
        await task.over.wait()


def _told(found: FoundTask, *, modern: bool) -> JsonObject:
    """A task as the era tells of it."""
    record = found.record
    status: str = record.status
    if found.running and found.running.call and found.running.call.wanted:
        status = "input_required"
    elif record.failed and not modern:
        status = "failed"  # there it says what the tool said too
    told: JsonObject = {"taskId": record.id, "status": status}
    if record.message:
        told["statusMessage"] = record.message
    told |= {"createdAt": _iso(record.created), "lastUpdatedAt": _iso(record.updated)}
    ttl, poll = ("ttlMs", "pollIntervalMs") if modern else ("ttl", "pollInterval")
    return {**told, ttl: int(record.ttl_secs * 1000), poll: POLL_MS}


def _gave(found: FoundTask) -> JsonObject:
    """What a task of the stateless era tells beside: what it wants, or what became of it."""
    if found.running:
        wanted = found.running.call.wanted if found.running.call else {}
        return {"inputRequests": wanted} if wanted else {}
    if found.record.error:
        return {"error": found.record.error}
    if found.record.status != "completed":
        return {}
    return {"result": cast("Json", msgspec.Raw(found.result))}  # it is written as it is


def _related(result: bytes, id_: str) -> bytes:
    """A result that names its task."""
    members = _members.decode(result)
    meta = _members.decode(members["_meta"]) if "_meta" in members else {}
    related = {key: msgspec.Raw(_encode(value)) for key, value in _relation(id_).items()}
    return _encode({**members, "_meta": {**meta, **related}})


def _relation(id_: str) -> JsonObject:
    return {mcp.META_RELATED_TASK: {"taskId": id_}}


def _iso(secs: float) -> str:
    return (
        datetime.fromtimestamp(secs, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )
