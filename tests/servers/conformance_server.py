"""An upstream for tests: what the official conformance suite expects of a server, with the SDK.

Run as ``sys.executable conformance_server.py``: Streamable HTTP, both eras; it prints its URL once
it listens on a free port of the loopback interface, and ends with the end of its input. All the
suite's fixtures are data in ``conformance.json``: results by tool, messages by prompt, contents by
resource, and what tools and prompts ask their client for, round by round. ``{name}`` in them stands
for the argument of that name, ``{answers}`` for what the client answered.
"""

import asyncio
import json
import re
import secrets
import socket
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import uvicorn
import uvloop
from mcp import types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError
from mcp.shared.message import ServerMessageMetadata
from mcp.shared.subscriptions import PromptsListChanged, ServerEvent, ToolsListChanged
from pydantic import BaseModel, TypeAdapter

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
JsonObject: TypeAlias = "dict[str, Json]"
Asked: TypeAlias = "types.CallToolRequestParams | types.GetPromptRequestParams"

NAME = "conformance"
STATELESS = "2026-07-28"
RETRY_MS = 50  # after which a client comes back whose stream was closed
QUESTION: TypeAdapter[types.InputRequest] = TypeAdapter(types.InputRequest)
Answer: TypeAlias = types.ElicitResult | types.CreateMessageResult | types.ListRootsResult
ANSWERS: dict[str, type[Answer]] = {
    "elicitation/create": types.ElicitResult,
    "sampling/createMessage": types.CreateMessageResult,
    "roots/list": types.ListRootsResult,
}
CAPABILITIES = {
    "elicitation/create": "elicitation",
    "sampling/createMessage": "sampling",
    "roots/list": "roots",
}


class Events(EventStore):
    """The events of all streams, so that a client that lost one gets the rest."""

    def __init__(self) -> None:
        self._events: list[tuple[str, types.JSONRPCMessage | None]] = []

    async def store_event(self, stream_id: str, message: types.JSONRPCMessage | None) -> str:
        """Keep an event; its id is its place."""
        self._events.append((stream_id, message))
        return str(len(self._events) - 1)

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str:
        """Send what followed on the same stream."""
        stream = self._events[int(last_event_id)][0]
        for place, (owner, message) in enumerate(self._events):
            if owner == stream and place > int(last_event_id) and message is not None:
                await send_callback(EventMessage(message, str(place)))
        return stream


class Fixtures:
    """The suite's fixtures, and the handlers that answer with them."""

    def __init__(self) -> None:
        known = json.loads(Path(__file__).with_name("conformance.json").read_bytes())
        self._results: dict[str, JsonObject] = known["results"]
        self._messages: dict[str, Json] = known["messages"]
        self._contents: dict[str, JsonObject] = known["contents"]
        self._questions: dict[str, list[JsonObject]] = known["questions"]
        self._lists: JsonObject = {key: known[key] for key in ("tools", "prompts", "resources")}
        self._templates: Json = known["templates"]
        self._shortened: set[str] = set()
        self.bus = InMemorySubscriptionBus()

    async def tools(self, context: ServerRequestContext, params: object) -> types.ListToolsResult:
        return types.ListToolsResult.model_validate({"tools": self._listed("tools")})

    async def prompts(
        self, context: ServerRequestContext, params: object
    ) -> types.ListPromptsResult:
        return types.ListPromptsResult.model_validate({"prompts": self._listed("prompts")})

    async def resources(
        self, context: ServerRequestContext, params: object
    ) -> types.ListResourcesResult:
        return types.ListResourcesResult.model_validate({"resources": self._lists["resources"]})

    async def templates(
        self, context: ServerRequestContext, params: object
    ) -> types.ListResourceTemplatesResult:
        return types.ListResourceTemplatesResult.model_validate(
            {"resourceTemplates": self._templates}
        )

    async def read(
        self, context: ServerRequestContext, params: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult:
        uri = str(params.uri)
        found = re.fullmatch("test://template/([^/]+)/data", uri)
        arguments = {"id": found[1]} if found else {}
        content = self._contents.get("test://template/{id}/data" if found else uri)
        if content is None:
            code = types.INVALID_PARAMS if context.protocol_version == STATELESS else -32002
            raise MCPError(code, "Resource not found", {"uri": uri})
        return types.ReadResourceResult.model_validate({"contents": [_filled(content, arguments)]})

    async def call(
        self, context: ServerRequestContext, params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        if params.name not in self._results:
            raise MCPError(types.INVALID_PARAMS, f"Unknown tool: {params.name}")
        await self._act(context, params.name)
        given = params.arguments or {}
        answers = await self._ask(context, params, given)
        if isinstance(answers, types.InputRequiredResult):
            return answers
        filled = _filled(self._results[params.name], {**given, "answers": answers})
        return types.CallToolResult.model_validate(filled)

    async def prompt(
        self, context: ServerRequestContext, params: types.GetPromptRequestParams
    ) -> types.GetPromptResult | types.InputRequiredResult:
        if params.name not in self._messages:
            raise MCPError(types.INVALID_PARAMS, f"Unknown prompt: {params.name}")
        given = params.arguments or {}
        answers = await self._ask(context, params, given)
        if isinstance(answers, types.InputRequiredResult):
            return answers
        filled = _filled(self._messages[params.name], {**given, "answers": answers})
        return types.GetPromptResult.model_validate({"messages": filled})

    def _listed(self, kind: str) -> Json:
        """Return a list, without its last item where it was changed."""
        listed = self._lists[kind]
        assert isinstance(listed, list)
        return listed[:-1] if kind in self._shortened else listed

    async def _act(self, context: ServerRequestContext, name: str) -> None:
        """Do what a tool does beside giving a result."""
        session, request_id = context.session, context.request_id
        match name:
            case "test_tool_with_logging" | "test_logging_tool":
                for said in ("started", "processing", "completed"):
                    await session.send_log_message("info", said, "fixtures", request_id)
            case "test_tool_with_progress":
                for percent in (0, 50, 100):
                    await session.report_progress(percent, 100)
            case "test_reconnection":
                await _close_stream(context)
            case "test_trigger_tool_change":
                await self._change("tools", ToolsListChanged())
            case "test_trigger_prompt_change":
                await self._change("prompts", PromptsListChanged())

    async def _change(self, kind: str, event: ServerEvent) -> None:
        self._shortened ^= {kind}
        await self.bus.publish(event)

    async def _ask(
        self, context: ServerRequestContext, params: Asked, given: Mapping[str, Json]
    ) -> "JsonObject | types.InputRequiredResult":
        """Ask what there is to ask, in the way of the era in use; give the last round's answers."""
        rounds = self._questions.get(params.name, [])
        if context.protocol_version == STATELESS:
            return _next_round(context, params, rounds)
        answers: JsonObject = {}
        for questions in rounds:
            answers = {
                key: await _answer(context, QUESTION.validate_python(_filled(question, given)))
                for key, question in _permitted(context, questions).items()
            }
        return answers


def _next_round(
    context: ServerRequestContext, params: Asked, rounds: list[JsonObject]
) -> "JsonObject | types.InputRequiredResult":
    """Return the answers when all are there, else the questions of the round that is due.

    The state is the number of the round; the SDK seals it.
    """
    given = params.input_responses or {}
    due = int(params.request_state or 0)
    if due < len(rounds) and rounds[due].keys() <= given.keys():
        due += 1
    if due >= len(rounds):
        return {key: _plain(answer) for key, answer in given.items()}
    asked = {
        key: QUESTION.validate_python(question)
        for key, question in _permitted(context, rounds[due]).items()
    }
    return types.InputRequiredResult(input_requests=asked, request_state=str(due))


def _permitted(context: ServerRequestContext, questions: JsonObject) -> JsonObject:
    """Return the questions that the client can be asked; it is refused when there are none."""
    declared = context.session.client_capabilities or types.ClientCapabilities()
    needed = {key: CAPABILITIES[_method(question)] for key, question in questions.items()}
    can = {key: question for key, question in questions.items() if getattr(declared, needed[key])}
    if not can:
        missing: JsonObject = {name: {} for name in needed.values()}
        raise MCPError(
            types.MISSING_REQUIRED_CLIENT_CAPABILITY,
            f"This needs a client with: {', '.join(missing)}",
            {"requiredCapabilities": missing},
        )
    return can


async def _answer(context: ServerRequestContext, request: types.InputRequest) -> Json:
    related = ServerMessageMetadata(related_request_id=context.request_id)
    kind = ANSWERS[request.method]
    return _plain(await context.session.send_request(request, kind, metadata=related))


def _plain(answer: BaseModel) -> Json:
    plain: Json = answer.model_dump(mode="json", by_alias=True, exclude_none=True)
    return plain


def _method(question: Json) -> str:
    assert isinstance(question, dict)
    return str(question["method"])


def _filled(value: Json, arguments: Mapping[str, Json]) -> Json:
    """Put arguments in the place of their names in braces, in all text."""
    if isinstance(value, dict):
        return {key: _filled(member, arguments) for key, member in value.items()}
    if isinstance(value, list):
        return [_filled(member, arguments) for member in value]
    if isinstance(value, str):
        for name, argument in arguments.items():
            said = argument if isinstance(argument, str) else json.dumps(argument)
            value = value.replace(f"{{{name}}}", said)
    return value


async def _close_stream(context: ServerRequestContext) -> None:
    """Close the stream of the request, once it is open; the client comes back for the reply."""
    await context.session.send_log_message("info", "closing", "fixtures", context.request_id)
    if context.close_sse_stream:
        await context.close_sse_stream()


async def _done(context: ServerRequestContext, params: object) -> types.EmptyResult:
    return types.EmptyResult()


async def _complete(context: ServerRequestContext, params: object) -> types.CompleteResult:
    return types.CompleteResult(completion=types.Completion(values=["one"], total=1))


def build() -> Server:
    """Return the server with all its handlers."""
    fixtures = Fixtures()
    server = Server(
        NAME,
        version="1.0.0",
        on_list_tools=fixtures.tools,
        on_call_tool=fixtures.call,
        on_list_prompts=fixtures.prompts,
        on_get_prompt=fixtures.prompt,
        on_list_resources=fixtures.resources,
        on_list_resource_templates=fixtures.templates,
        on_read_resource=fixtures.read,
        on_subscribe_resource=_done,
        on_unsubscribe_resource=_done,
        on_subscriptions_listen=ListenHandler(fixtures.bus),
        on_completion=_complete,
        on_set_logging_level=_done,
    )
    security = RequestStateSecurity(keys=[secrets.token_bytes(32)])
    server.middleware.append(RequestStateBoundary(security, default_audience=NAME))
    return server


async def serve(listener: socket.socket) -> None:
    """Serve until the end of input."""
    application = build().streamable_http_app(event_store=Events(), retry_interval=RETRY_MS)
    config = uvicorn.Config(application, log_level="warning", timeout_graceful_shutdown=1)
    serving = uvicorn.Server(config)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(serving.serve([listener]))
        await asyncio.to_thread(sys.stdin.read)
        serving.should_exit = True


if __name__ == "__main__":
    warnings.simplefilter("ignore", MCPDeprecationWarning)
    with socket.create_server(("127.0.0.1", 0)) as free:
        sys.stdout.write(f"http://127.0.0.1:{free.getsockname()[1]}/mcp\n")
        sys.stdout.flush()
        uvloop.run(serve(free))
