"""The gateway's own resources: how to write scripts, in words for a model, and results that were
kept. Pure.

The tools' descriptions have to be short, since every conversation carries them; the guide is for a
client that wants to give its model more. A result that was too large for a reply can be read whole,
by whom it belongs to. Both are offered where there are scripts: not in direct mode.
"""

import re
from collections.abc import Collection

from mcproxy.config.model import Surface
from mcproxy.script_api import FUNCTIONS, SERVER, STASH, TOOL_ERROR
from mcproxy.types import Json, JsonObject

INSTRUCTIONS_URI = "mcproxy://instructions"
RESULTS_TEMPLATE = "mcproxy://results/{ref}{?session}"
_RESULT = re.compile(r"mcproxy://results/(\w{1,20})(?:\?session=([\w-]{1,100}))?", re.ASCII)

_HEAD = """\
# How to write scripts for `execute`

1. Find tools with `search`; copy the `call` of a match. `?` marks optional parameters.
2. Do the whole job in one script: call, loop, filter, combine. Return only what is needed.
3. Python 3, standard library only. No host files, no network unless allowed. No variable is kept.

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
- After an error, mend the script and run it with the `resume` that a note tells: calls that
  succeeded are not sent again. Where a reply has a `session`, pass it on to go on from it.

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
    offered = [f"- `{each.usage}`: {each.meaning}" for each in (SERVER, *FUNCTIONS, STASH)]
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


def templates(surface: Surface) -> list[JsonObject]:
    """The items of ``resources/templates/list``."""
    if surface not in WITH_SCRIPTS:
        return []
    about = "A result of execute, whole, by the ref that a reply told; session is its handle."
    return [
        {
            "uriTemplate": RESULTS_TEMPLATE,
            "name": "results",
            "title": "Whole results of execute",
            "description": about,
            "mimeType": "application/json",
        }
    ]


def result_of(surface: Surface, uri: str) -> tuple[str, str | None] | None:
    """The reference and the session's handle that a URI names; None for other URIs."""
    named = _RESULT.fullmatch(uri) if surface in WITH_SCRIPTS else None
    return (named[1], named[2]) if named else None


def result(uri: str, text: bytes) -> JsonObject:
    """The result of ``resources/read`` for a result that is kept."""
    # It came out of a sandbox: nobody has looked whether it is UTF-8.
    contents = {"uri": uri, "mimeType": "application/json", "text": text.decode(errors="replace")}
    return {"contents": [{**contents}]}
