"""An upstream for tests: what the official conformance suite expects of a server, with the SDK.

Run as ``sys.executable conformance_server.py [--legacy]``: Streamable HTTP, both eras or the
handshake's only; it prints its URL once it listens on a free port of the loopback interface, and
ends with the end of its input. All fixtures are data in ``conformance.json``: results by tool,
messages by prompt, contents by resource, and what tools and prompts ask their client for, round by
round. ``{name}`` in them stands for the argument of that name, ``{answers}`` for what the client
answered. Beyond the suite's there are ``test_structured``, ``test_era`` (the version in use),
``test_wait`` (until it is cancelled) and ``test_wait_cancelled`` (until that one was).
"""

import asyncio
import json
import re
import secrets
import socket
import sys
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvicorn
import uvloop
from mcp import types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import NotificationOptions, Server
from mcp.server.models import InitializationOptions
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError
from mcp.shared.subscriptions import PromptsListChanged, ServerEvent, ToolsListChanged
from starlette.types import ASGIApp

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.servers.conformance_asking import Json, JsonObject, ask, filled
from tests.servers.eras import STATELESS, handshake_only

NAME = "conformance"
RETRY_MS = 50  # after which a client comes back whose stream was closed


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
        self._cancelled = asyncio.Event()
        self._acts: dict[str, Callable[[ServerRequestContext], Awaitable[None]]] = {
            "test_tool_with_logging": self._log,
            "test_logging_tool": self._log,
            "test_tool_with_progress": self._progress,
            "test_reconnection": _close_stream,
            "test_trigger_tool_change": self._change_tools,
            "test_trigger_prompt_change": self._change_prompts,
            "test_wait": self._wait,
            "test_wait_cancelled": self._wait_cancelled,
        }
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
        return types.ReadResourceResult.model_validate({"contents": [filled(content, arguments)]})

    async def call(
        self, context: ServerRequestContext, params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        if params.name not in self._results:
            raise MCPError(types.INVALID_PARAMS, f"Unknown tool: {params.name}")
        if act := self._acts.get(params.name):
            await act(context)
        given = params.arguments or {}
        answers = await ask(context, params, self._questions.get(params.name, []))
        if isinstance(answers, types.InputRequiredResult):
            return answers
        known: JsonObject = {"answers": answers, "era": str(context.protocol_version)}
        complete = filled(self._results[params.name], {**given, **known})
        return types.CallToolResult.model_validate(complete)

    async def prompt(
        self, context: ServerRequestContext, params: types.GetPromptRequestParams
    ) -> types.GetPromptResult | types.InputRequiredResult:
        if params.name not in self._messages:
            raise MCPError(types.INVALID_PARAMS, f"Unknown prompt: {params.name}")
        given = params.arguments or {}
        answers = await ask(context, params, self._questions.get(params.name, []))
        if isinstance(answers, types.InputRequiredResult):
            return answers
        complete = filled(self._messages[params.name], {**given, "answers": answers})
        return types.GetPromptResult.model_validate({"messages": complete})

    def _listed(self, kind: str) -> Json:
        """Return a list, without its last item where it was changed."""
        listed = self._lists[kind]
        assert isinstance(listed, list)
        return listed[:-1] if kind in self._shortened else listed

    async def _log(self, context: ServerRequestContext) -> None:
        for said in ("started", "processing", "completed"):
            await context.session.send_log_message("info", said, "fixtures", context.request_id)

    async def _progress(self, context: ServerRequestContext) -> None:
        for percent in (0, 50, 100):
            await context.session.report_progress(percent, 100)

    async def _change_tools(self, context: ServerRequestContext) -> None:
        await self._change(context, "tools", ToolsListChanged())

    async def _change_prompts(self, context: ServerRequestContext) -> None:
        await self._change(context, "prompts", PromptsListChanged())

    async def _change(self, context: ServerRequestContext, kind: str, event: ServerEvent) -> None:
        self._shortened ^= {kind}
        if context.protocol_version == STATELESS:
            await self.bus.publish(event)
        elif kind == "tools":
            await context.session.send_tool_list_changed()
        else:
            await context.session.send_prompt_list_changed()

    async def _wait(self, context: ServerRequestContext) -> None:
        """Wait to be cancelled, once the client was told that this has begun."""
        self._cancelled.clear()
        await context.session.report_progress(1)
        try:
            await asyncio.Event().wait()
        finally:
            self._cancelled.set()

    async def _wait_cancelled(self, context: ServerRequestContext) -> None:
        await self._cancelled.wait()


async def _close_stream(context: ServerRequestContext) -> None:
    """Close the stream of the request, once it is open; the client comes back for the reply."""
    await context.session.send_log_message("info", "closing", "fixtures", context.request_id)
    if context.close_sse_stream:
        await context.close_sse_stream()


async def _done(context: ServerRequestContext, params: object) -> types.EmptyResult:
    return types.EmptyResult()


async def _complete(context: ServerRequestContext, params: object) -> types.CompleteResult:
    return types.CompleteResult(completion=types.Completion(values=["one"], total=1))


class Changing(Server):
    """A server that declares, in the handshake too, that its lists change."""

    def create_initialization_options(
        self,
        notification_options: NotificationOptions | None = None,
        experimental_capabilities: dict[str, dict[str, object]] | None = None,
        extensions: dict[str, dict[str, object]] | None = None,
    ) -> InitializationOptions:
        """Declare it."""
        return super().create_initialization_options(
            NotificationOptions(tools_changed=True, prompts_changed=True)
        )


def build() -> Server:
    """Return the server with all its handlers."""
    fixtures = Fixtures()
    server = Changing(
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


async def serve(listener: socket.socket, *, legacy: bool) -> None:
    """Serve until the end of input."""
    application: ASGIApp = build().streamable_http_app(
        event_store=Events(), retry_interval=RETRY_MS
    )
    if legacy:
        application = handshake_only(application)
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
        uvloop.run(serve(free, legacy="--legacy" in sys.argv))
