"""What of the gateway one ``execute`` with one call passes through, and one direct call of the same
tool, over a session of ``/mcp``.

    python -m bench trace

The gateway runs in this process, with its real sandbox and a real server, and says which of its
functions run between a request and its reply. Counted is what each of several rounds has run: what
a timer happens to do meanwhile is none of the request's.
"""

import asyncio
import collections
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType

import httpx
import uvloop

import mcproxy
from mcproxy import mcp
from mcproxy.config.load import Loaded, load_document
from mcproxy.serve import bind, serve_http
from mcproxy.types import Json, JsonObject

ROUNDS = 5
PATH = "/mcp"
BOUND_SECS = 30.0
ECHO = Path(__file__).parents[1] / "tests" / "servers" / "echo.py"
SCRIPT = 'api.server("echo").add(a=1, b=2)'
DIRECT = "echo__add"
_PROGRAM = Path(str(mcproxy.__file__)).parent
_VERSION = mcp.HANDSHAKE_VERSIONS[0]


@dataclass(frozen=True, order=True)
class Function:
    """One of the program's functions: its file within the package, and its name."""

    file: str
    name: str


Calls = Mapping[Function, int]
"""How often each function was entered; a coroutine that waited is entered again."""


def configuration(**others: Json) -> Loaded:
    """One server, and what else is to be configured."""
    echo: JsonObject = {"command": sys.executable, "args": [str(ECHO)]}
    return load_document({"servers": {"echo": echo}, **others})


async def traced(loaded: Loaded, tool: str = "execute", /, **arguments: Json) -> Calls:
    """Call a tool with these arguments ``ROUNDS`` times in one session; the fewest entries of what
    each round ran."""
    listener = bind("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    async with (
        asyncio.timeout(BOUND_SECS),
        asyncio.TaskGroup() as tasks,
        httpx.AsyncClient(base_url=url, timeout=BOUND_SECS, trust_env=False) as http,
    ):
        serving = tasks.create_task(serve_http(loaded, lambda _: None, listener, watch=False))
        await _open(http)
        await _call(http, tool, arguments)  # what is made once is no request's
        rounds = []
        for _ in range(ROUNDS):
            with _counted() as calls:
                await _call(http, tool, arguments)
            rounds.append(calls)
        serving.cancel()
    always = set.intersection(*(set(calls) for calls in rounds))
    return {_function(code): min(calls[code] for calls in rounds) for code in always}


async def _open(http: httpx.AsyncClient) -> None:
    http.headers["Accept"] = "application/json, text/event-stream"
    params: JsonObject = {"protocolVersion": _VERSION, "capabilities": {}}
    opened = await http.post(PATH, json=_request("initialize", params))
    http.headers[mcp.SESSION_HEADER] = opened.headers[mcp.SESSION_HEADER]


async def _call(http: httpx.AsyncClient, tool: str, arguments: JsonObject) -> None:
    params: JsonObject = {"name": tool, "arguments": arguments}
    reply = await http.post(PATH, json=_request(mcp.CALL_TOOL, params))
    assert reply.json()["result"].get("isError") is not True, reply.text


def _request(method: str, params: JsonObject) -> JsonObject:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


@contextmanager
def _counted() -> Iterator[collections.Counter[CodeType]]:
    """Count the functions of the program that are entered within, in this thread."""
    calls: collections.Counter[CodeType] = collections.Counter()

    def see(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(str(_PROGRAM)):
            calls[frame.f_code] += 1

    before = sys.getprofile()
    sys.setprofile(see)
    try:
        yield calls
    finally:
        sys.setprofile(before)


def _function(code: CodeType) -> Function:
    file = Path(code.co_filename).relative_to(_PROGRAM)
    return Function(str(file), f"{code.co_qualname}:{code.co_firstlineno}")


def files(calls: Calls) -> Mapping[str, int]:
    """How many functions of each file were entered."""
    return collections.Counter(function.file for function in sorted(calls))


def main() -> None:
    """Print the tables."""
    _print("execute with one call", uvloop.run(traced(configuration(), code=SCRIPT)))
    both = configuration(namespaces={"public": {"mode": "both"}})
    _print("one direct call", uvloop.run(traced(both, DIRECT, a=1, b=2)))


def _print(title: str, calls: Calls) -> None:
    print(f"{title}\n\n| file | functions |\n|---|---|")
    for file, count in files(calls).items():
        print(f"| {file} | {count} |")
    entered = sum(calls.values())
    print(f"\n{len(files(calls))} files, {len(calls)} functions, entered {entered} times\n")


if __name__ == "__main__":
    main()
