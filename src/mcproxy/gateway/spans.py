"""What of the gateway's work is traced: requests, in them executions, in them calls.

Each is a function that is wrapped where spans are wanted, and is as it was where they are not.
Whose span is whose parent goes with the ``Exchange``: its ``_meta`` has the W3C context (MCP
SEP-414), the client's as it came, then that of the innermost span, and so on to the server. No
argument, result or text of an error is told; names of what is configured are.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Concatenate, ParamSpec, TypeAlias, TypeVar

from msgspec.structs import replace

from mcproxy.call_errors import failure_code
from mcproxy.errors import RpcError
from mcproxy.exchange import BeginSpan, Exchange, ServerCall
from mcproxy.gateway.request import Call, RequestContext, RequestSource
from mcproxy.types import Json, JsonObject, ToolRef, ToolResult

P = ParamSpec("P")
T = TypeVar("T")

Method: TypeAlias = Callable[[Call, RequestSource, Exchange], Awaitable[bytes]]
Answer: TypeAlias = Callable[[str, Method, Call, RequestSource, Exchange], Awaitable[bytes]]


def request_spans(begin: BeginSpan | None, answer: Answer) -> Answer:
    """The answers to clients' requests, a span each."""
    if begin is None:
        return answer

    async def traced(
        name: str, method: Method, call: Call, source: RequestSource, exchange: Exchange
    ) -> bytes:
        with begin("request", name, exchange, {"mcp.method.name": name}) as span:
            try:
                return await answer(name, method, call, source, span.exchange)
            except BaseException as error:
                span.failed(_code(error))
                raise

    return traced


def execution_spans(
    begin: BeginSpan | None,
    execute: Callable[Concatenate[T, RequestContext, P], Awaitable[JsonObject]],
) -> Callable[Concatenate[T, RequestContext, P], Awaitable[JsonObject]]:
    """The runs of scripts, a span each."""
    if begin is None:
        return execute

    async def traced(
        arguments: T, context: RequestContext, /, *given: P.args, **named: P.kwargs
    ) -> JsonObject:
        about = {"mcproxy.namespace": context.namespace.name}
        with begin("execution", "execute", context.exchange, about) as span:
            try:
                within = replace(context, exchange=span.exchange)
                result = await execute(arguments, within, *given, **named)
            except BaseException as error:
                span.failed(_code(error))
                raise
            if result.get("isError") is True:
                span.failed("script_error")
            return result

    return traced


def call_spans(begin: BeginSpan | None, call: ServerCall) -> ServerCall:
    """The calls of servers' tools, a span each; the server is told which."""
    if begin is None:
        return call

    async def traced(exchange: Exchange, ref: ToolRef, arguments: Mapping[str, Json]) -> ToolResult:
        about = {"mcproxy.server": ref.server, "gen_ai.tool.name": ref.tool}
        with begin("call", f"{ref.server}.{ref.tool}", exchange, about) as span:
            try:
                result = await call(span.exchange, ref, arguments)
            except BaseException as error:
                span.failed(failure_code(error))
                raise
            if result.is_error:
                span.failed("tool_error")
            return result

    return traced


def _code(error: BaseException) -> str:
    return str(error.code) if isinstance(error, RpcError) else failure_code(error)
