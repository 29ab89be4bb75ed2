"""MCP Apps, ``io.modelcontextprotocol/ui`` (SEP-1865): pages that servers have for their tools.

A tool names its page, a resource ``ui://…``, in ``_meta.ui``; a client that can show pages reads it
when the tool has given a result. A page calls tools of its server by the names that these have
there, so the client is shown them by these names too, in every mode: for pages alone, which is for
it to mind. To a client that shows no pages, tools for pages alone are not there.

A script calls many tools, and its client gets one result. Where that is the result of a tool with a
page, the reply names the page, and has the call and the result as the page wants them.
"""

import asyncio
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from mcproxy.gateway.extensions.extension import Extension
from mcproxy.gateway.extensions.pages import Pages, page_of
from mcproxy.gateway.request import RequestContext
from mcproxy.gateway.resources import OwnedResource
from mcproxy.types import CallTool, Json, JsonObject, Outcome, Tool, ToolRef, ToolResult
from mcproxy.wire.message import UNREADABLE

ID: Final = "io.modelcontextprotocol/ui"
MIME_TYPE: Final = "text/html;profile=mcp-app"
OFFERED_TO_SERVERS: Final[JsonObject] = {"mimeTypes": [MIME_TYPE]}
"""A tool with a page gives text too (Graceful Degradation), so that nothing is lost where the
client of a call shows none."""

SHOWN_CALL: Final = "mcproxy/toolCall"  # in the ``_meta`` of a reply: the call behind a page
MAX_SEEN = 16  # results that may become a script's: the last ones, which is where one returns it
MAX_RESULT_BYTES = 1 << 20  # of one that goes to a page beside the reply


def apps() -> Extension:
    """The extension."""
    return Extension(
        ID,
        _offer,
        in_script=lambda declared: declared,
        schemes=frozenset({"ui"}),
        owners=_owners,
        tools=lambda context: context.view.pages.callable,
        listed=_listed,
        watch=_watch,
    )


def _offer(context: RequestContext, declared: Mapping[str, JsonObject]) -> JsonObject | None:
    """No settings are defined for servers; what one says beyond that is of no other."""
    return {} if declared or context.view.pages.tools else None


async def _owners(context: RequestContext, uri: str) -> Sequence[OwnedResource] | None:
    """Whose tool has the page; lists need not have it ("Resource Discovery")."""
    owner = context.view.pages.owners.get(uri)
    return (OwnedResource(*owner),) if owner else None


def _listed(context: RequestContext, tool: Tool) -> Mapping[str, Json]:
    return context.view.pages.for_pages(tool)


def _watch(context: RequestContext) -> "_PageWatch | None":
    pages = context.view.pages
    return _PageWatch(pages) if pages.with_page else None


class _SeenCall(msgspec.Struct, frozen=True):
    tool: Tool
    arguments: Mapping[str, Json]
    raw: bytes


class _PageWatch:
    """Finds out whether what a script returns is what a tool with a page gave it."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._seen: deque[_SeenCall] = deque(maxlen=MAX_SEEN)

    def around(self, call: CallTool) -> CallTool:
        """The same calls; the results of tools with a page are kept, as long as the script runs."""

        async def watched(ref: ToolRef, arguments: Mapping[str, Json]) -> ToolResult:
            result = await call(ref, arguments)
            tool = self._pages.with_page.get(result.ref or ref)
            if tool and not result.is_error and len(result.raw) <= MAX_RESULT_BYTES:
                self._seen.append(_SeenCall(tool, arguments, result.raw))
            return result

        return watched

    async def completed(self, outcome: Outcome, reply: JsonObject) -> JsonObject:
        """The reply, with the page of the last call whose value the script returned."""
        if outcome.error or not self._seen:
            return reply
        found = await asyncio.to_thread(self._returned, outcome)
        return self._with_page(reply, *found) if found else reply

    def _returned(self, outcome: Outcome) -> tuple[_SeenCall, JsonObject] | None:
        value = outcome.value
        try:
            if outcome.whole is not None:
                if len(outcome.whole) > MAX_RESULT_BYTES:
                    return None
                value = msgspec.json.decode(outcome.whole)
            for seen in reversed(self._seen):
                result = _object.decode(seen.raw)
                if any(value == each for each in _values(result)):
                    return seen, result
        except UNREADABLE:  # the script saw another value than we do, and this page cannot be told
            return None
        return None

    def _with_page(self, reply: JsonObject, seen: _SeenCall, result: JsonObject) -> JsonObject:
        ref, uri = seen.tool.ref, page_of(seen.tool)
        shown = self._pages.shown[ref.server, str(uri)]
        call: JsonObject = {"server": ref.server, "tool": ref.tool}
        call |= {"arguments": dict(seen.arguments), "result": result}
        link: JsonObject = {"type": "resource_link", "uri": shown, "name": ref.tool}
        content, meta = reply.get("content"), reply.get("_meta")
        blocks = content if isinstance(content, list) else []
        own = meta if isinstance(meta, dict) else {}
        return {
            **reply,
            "content": [*blocks, {**link, "mimeType": MIME_TYPE}],
            "_meta": {**own, "ui": {"resourceUri": shown}, SHOWN_CALL: call},
        }


_object = msgspec.json.Decoder(dict[str, Json])


def _values(result: JsonObject) -> Iterator[Json]:
    """What a script may have got for a result: its value, without what a framework put around it,
    or the content itself."""
    structured, content = result.get("structuredContent"), result.get("content")
    if structured is not None:
        yield structured
    if isinstance(structured, dict) and structured.keys() == {"result"}:
        yield structured["result"]
    match content:
        case [{"type": "text", "text": str(text)}] if structured is None:
            yield text
            try:
                yield msgspec.json.decode(text)
            except UNREADABLE:
                return
        case list() if structured is None:
            yield content
