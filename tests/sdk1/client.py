"""A client of the handshake era: the official SDK of the line before, in an environment of its own.

Run as ``PYTHON client.py {stdio COMMAND… | http URL | sse URL}`` with the Python that has that SDK;
it lists the tools, searches, and executes the script that it reads from its input, and prints the
three results as one JSON object. As ``PYTHON client.py tasks URL TOOL LONGER`` it calls the tool
as a task with the arguments that it reads, polls as the SDK does, gets the result, and cancels a
second task, of these arguments and LONGER's.
It is written so that the SDK of today can check its types.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from mcp import ClientSession, StdioServerParameters
from mcp.client.sse import sse_client
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult
from pydantic import BaseModel

BOUND_SECS = 40


@asynccontextmanager
async def connected(transport: str, target: list[str]) -> AsyncIterator[ClientSession]:
    """An initialized session over a transport."""
    match transport:
        case "stdio":
            streams = stdio_client(StdioServerParameters(command=target[0], args=target[1:]))
        case "sse":
            streams = sse_client(target[0])
        case _:
            streams = streamable_http_client(target[0])
    async with streams as (reading, writing, *_), ClientSession(reading, writing) as session:
        await session.initialize()
        yield session


async def main(transport: str, *target: str) -> None:
    """Do what every client does, and tell the results."""
    async with asyncio.timeout(BOUND_SECS), connected(transport, [*target]) as session:
        results = {
            "tools": await session.list_tools(),
            "search": await session.call_tool("search", {"query": "add two numbers"}),
            "execute": await session.call_tool("execute", {"code": sys.stdin.read()}),
        }
    sys.stdout.write(json.dumps({name: plain(result) for name, result in results.items()}))


async def main_of_tasks(url: str, tool: str) -> None:
    """Call a tool as a task, and tell what came of it."""
    arguments = json.load(sys.stdin)
    async with asyncio.timeout(BOUND_SECS), connected("http", [url]) as session:
        tasks: Any = session.experimental  # type: ignore[attr-defined] # the SDK of today has none
        listed = await session.list_tools()
        made = await tasks.call_tool_as_task(tool, arguments, ttl=600_000)
        id_ = made.task.taskId
        statuses = [told.status async for told in tasks.poll_task(id_)]
        result = await tasks.get_task_result(id_, CallToolResult)
        second = await tasks.call_tool_as_task(tool, {**arguments, **json.loads(sys.argv[4])})
        cancelled = await tasks.cancel_task(second.task.taskId)
    told = {"tools": plain(listed), "made": made.task.status, "statuses": statuses}
    told |= {"result": plain(result), "cancelled": cancelled.status}
    sys.stdout.write(json.dumps(told))


def plain(result: BaseModel) -> object:
    """A result as it was on the wire."""
    return result.model_dump(mode="json", by_alias=True, exclude_none=True)


if __name__ == "__main__":
    if sys.argv[1] == "tasks":
        asyncio.run(main_of_tasks(*sys.argv[2:4]))
    else:
        asyncio.run(main(*sys.argv[1:]))
