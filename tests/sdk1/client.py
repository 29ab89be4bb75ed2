"""A client of the handshake era: the official SDK of the line before, in an environment of its own.

Run as ``PYTHON client.py {stdio COMMAND… | http URL | sse URL}`` with the Python that has that SDK;
it lists the tools, searches, and executes the script that it reads from its input, and prints the
three results as one JSON object. It is written so that the SDK of today can check its types.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mcp import ClientSession, StdioServerParameters
from mcp.client.sse import sse_client
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
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


def plain(result: BaseModel) -> object:
    """A result as it was on the wire."""
    return result.model_dump(mode="json", by_alias=True, exclude_none=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
