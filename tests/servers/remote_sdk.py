"""An upstream for tests: the server of ``sdk_server.py`` over HTTP, as the official SDK serves it.

Run as ``sys.executable remote_sdk.py [--sse] [--stateless] [--json] [--legacy]``; it prints its URL
once it listens on a free port of the loopback interface. Both eras over Streamable HTTP (a client
picks one; ``--legacy`` leaves only the handshake era), HTTP+SSE with ``--sse``. It ends with the
end of its input, so that it outlives no test.

Run with ``--forks PATH`` it loads the SDK once, see ``forks.py``.

More tools: ``era`` (the protocol version in use), ``grow`` (adds a tool and says so), ``located``
(its ``region`` is mirrored in a header, which the SDK checks).
"""

import argparse
import asyncio
import socket
import sys
from pathlib import Path
from typing import Annotated

import uvicorn
import uvloop
from mcp.server.mcpserver import Context
from pydantic import Field
from starlette.types import ASGIApp

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.servers import forks
from tests.servers.eras import STATELESS, handshake_only
from tests.servers.sdk_server import server


@server.tool(structured_output=False)
def era(context: Context) -> str:
    """Tell the protocol version in use."""
    return str(context.protocol_version)


@server.tool(structured_output=False)
async def grow(context: Context) -> str:
    """Add a tool, and say so in the way of the era in use."""
    server.add_tool(lambda: "new", name="grown", structured_output=False)
    if context.protocol_version == STATELESS:
        await context.notify_tools_changed()
    else:
        await context.session.send_tool_list_changed()
    return "grown"


@server.tool(structured_output=False)
def located(region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})]) -> str:
    """Tell the region."""
    return f"in {region}"


def main() -> None:
    """Serve until the end of input."""
    parser = argparse.ArgumentParser(description="The SDK's server over HTTP, for tests.")
    for flag in ("--sse", "--stateless", "--json", "--legacy"):
        parser.add_argument(flag, action="store_true")
    options = parser.parse_args(forks.words())
    listener = socket.create_server(("127.0.0.1", 0))
    path = "/sse" if options.sse else "/mcp"
    sys.stdout.write(f"http://127.0.0.1:{listener.getsockname()[1]}{path}\n")
    sys.stdout.flush()
    uvloop.run(_serve(_application(options), listener))


def _application(options: argparse.Namespace) -> ASGIApp:
    if options.sse:
        return server.sse_app()
    application = server.streamable_http_app(
        stateless_http=options.stateless, json_response=options.json
    )
    return handshake_only(application) if options.legacy else application


async def _serve(application: ASGIApp, listener: socket.socket) -> None:
    config = uvicorn.Config(application, log_level="warning", timeout_graceful_shutdown=1)
    serving = uvicorn.Server(config)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(serving.serve([listener]))
        await asyncio.to_thread(sys.stdin.read)
        serving.should_exit = True


if __name__ == "__main__":
    main()
