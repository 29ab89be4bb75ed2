"""An upstream for tests: a server as its author would write it, with the official SDK.

Run as ``sys.executable sdk_server.py``; it speaks both eras. Tools with structured output
(``forecast``), wrapped values (``total``, ``words``), plain text (``greet``), an image
(``pixel``), progress (``work``) and an error (``refuse``); the resource
``note://readme``, the template ``note://{name}``, the prompt ``review``.
It starts in about a second: the SDK is large.
"""

import base64

from mcp.server.mcpserver import Context, Image, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import BaseModel, Field

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5E"
    "rkJggg=="
)
STEPS = 3


class Forecast(BaseModel):
    """What ``forecast`` returns; becomes the tool's output schema."""

    city: str
    celsius: float = Field(description="Temperature in degrees Celsius.")
    rain: bool


server = MCPServer("sdk", version="1.0.0", instructions="A server for tests.", log_level="ERROR")


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def forecast(city: str, days: int = 1) -> Forecast:
    """Tell the weather of a city, the same every day."""
    return Forecast(city=city, celsius=20.0 + days, rain=False)


@server.tool(structured_output=False)
def greet(name: str) -> str:
    """Greet somebody."""
    return f"Hello {name}"


@server.tool()
def pixel() -> Image:
    """Return an image of one pixel."""
    return Image(data=PIXEL, format="png")


@server.tool(structured_output=False)
async def work(context: Context) -> str:
    """Work in three steps, with progress."""
    for step in range(1, STEPS + 1):
        await context.report_progress(step, STEPS, f"step {step}")
    return "done"


@server.tool()
def total(numbers: list[int]) -> int:
    """Add numbers up; the SDK wraps the sum."""
    return sum(numbers)


@server.tool()
def words(text: str) -> list[str]:
    """Split a text; the SDK wraps the list, and gives a block for each word."""
    return text.split()


@server.tool(structured_output=False)
def refuse(reason: str) -> str:
    """Fail with a reason."""
    raise ToolError(reason)


@server.resource("note://readme", mime_type="text/plain")
def readme() -> str:
    """Return the one fixed note."""
    return "Read me."


@server.resource("note://{name}")
def note(name: str) -> str:
    """Return a note made up from its name."""
    return f"Note {name}."


@server.prompt()
def review(code: str) -> str:
    """Ask for a review of some code."""
    return f"Please review:\n{code}"


if __name__ == "__main__":
    server.run()
