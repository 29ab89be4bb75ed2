"""The gateway's own resource: how to write scripts, in words for a model. Pure.

The tools' descriptions have to be short, since every conversation carries them; this is for a
client that wants to give its model more. It is offered where there are scripts: not in direct mode.
"""

from collections.abc import Collection

from mcproxy.config.model import Surface
from mcproxy.script_api import FUNCTIONS, SERVER, TOOL_ERROR
from mcproxy.types import Json, JsonObject

INSTRUCTIONS_URI = "mcproxy://instructions"

_HEAD = """\
# How to write scripts for `execute`

1. Find tools with `search`; copy the `call` of a match. `?` marks optional parameters.
2. Do the whole job in one script: call, loop, filter, combine. Return only what is needed.
3. Python 3, standard library only. No host files, no network unless allowed. Nothing is kept.

`api` needs no import:
"""
_RULES = """\

- A call gives the tool's value itself: a dict, list, text or number, decoded. No envelope.
- `await asyncio.gather(call, call)` runs calls at once. Without `await` a call waits for its value.
- Arguments by name. Write `server["odd-name"](...)` where a tool's name is no Python word.
- Result: what `run()` returns if it is defined, else the variable `result`, else the last
  expression. `print` goes to `stdout`.
- A failing call raises `ToolError`, which needs no import. Retry only if `e.retryable`, after
  `e.retry_after` seconds.

```python
async def run():
    calc = api.server("calc")
    async def km(miles):
        return (await calc.convert_units(value=miles, from_unit="mi", to_unit="km"))["value"]
    try:
        return [round(each, 1) for each in await asyncio.gather(km(1), km(26.2))]
    except ToolError as e:
        return {"failed": e.code, "why": e.message}
```
"""


WITH_SCRIPTS: Collection[Surface] = ("code", "both")


def guide() -> str:
    """How to write scripts."""
    offered = [f"- `{each.usage}`: {each.meaning}" for each in (SERVER, *FUNCTIONS)]
    facts = ", ".join(f"`e.{fact.name}`" for fact in TOOL_ERROR)
    return "\n".join([_HEAD, *offered, f"- `except ToolError as e`: has {facts}", _RULES])


_GUIDE = guide()


def listed(surface: Surface) -> list[JsonObject]:
    """The items of ``resources/list``."""
    if surface not in WITH_SCRIPTS:
        return []
    about = "The api that scripts of execute have, its rules, an example."
    return [
        {
            "uri": INSTRUCTIONS_URI,
            "name": "instructions",
            "title": "How to write scripts for execute",
            "description": about,
            "mimeType": "text/markdown",
        }
    ]


def read(surface: Surface, uri: str) -> JsonObject | None:
    """The result of ``resources/read``; None where the gateway has no such resource."""
    if uri != INSTRUCTIONS_URI or surface not in WITH_SCRIPTS:
        return None
    contents: list[Json] = [{"uri": uri, "mimeType": "text/markdown", "text": _GUIDE}]
    return {"contents": contents}
