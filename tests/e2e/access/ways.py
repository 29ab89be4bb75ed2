"""Every way to name an endpoint over HTTP, and what comes back.

A way asks for a list: of prompts, of tools, of servers. Which servers are named in it is what the
caller reaches.
"""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass

import httpx

from mcproxy.types import Json, JsonObject
from tests.frontends.serving import BOTH, Seen, events, request

META: JsonObject = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}
SESSION = "Mcp-Session-Id"
MANIFEST = "sorted(api.manifest()['servers'])"


@dataclass(frozen=True, slots=True)
class Answer:
    """HTTP's status; the servers that were listed, or the words of the refusal.

    ``code`` is the JSON-RPC error's, 0 for a tool's ``isError``, None where HTTP itself refused.
    """

    status: int
    servers: frozenset[str] | None = None
    words: str = ""
    code: int | None = None
    challenge: str = ""


Way = Callable[[httpx.AsyncClient, str, dict[str, str]], Awaitable[Answer]]


def read(status: int, reply: JsonObject, challenge: str = "") -> Answer:
    """What a reply says, be it JSON-RPC's or HTTP's own."""
    error, result = reply.get("error"), reply.get("result")
    if isinstance(error, str):
        return Answer(status, words=error, challenge=challenge)
    if isinstance(error, dict):
        return Answer(status, words=str(error["message"]), code=int(str(error["code"])))
    assert isinstance(result, dict), reply
    if result.get("isError"):
        return Answer(status, words=str(result), code=0)
    return Answer(status, servers=frozenset(_servers(result)))


async def send(
    http: httpx.AsyncClient, path: str, body: JsonObject, headers: dict[str, str]
) -> Answer:
    """POST one request."""
    response = await http.post(path, json=body, headers=headers)
    return read(response.status_code, response.json(), response.headers.get("WWW-Authenticate", ""))


def stateless(body: JsonObject) -> tuple[JsonObject, dict[str, str]]:
    """The same request as protocol 2026-07-28 has it, with its headers."""
    params = body["params"]
    assert isinstance(params, dict)
    name = params.get("name", params.get("uri"))
    named = {"Mcp-Name": name} if isinstance(name, str) else {}
    version = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": str(body["method"])}
    return {**body, "params": {**params, "_meta": META}}, {**version, **named, "Accept": BOTH}


def tool(name: str, **arguments: Json) -> JsonObject:
    """A call of a tool."""
    return request("tools/call", {"name": name, "arguments": {**arguments}})


def _servers(result: JsonObject) -> Iterable[str]:
    """The servers that a list names."""
    listed = result.get("prompts", result.get("tools"))
    if isinstance(listed, list):
        names = [str(item["name"]) for item in listed if isinstance(item, dict)]
        return [name.partition("__")[0] for name in names if name not in ("search", "execute")]
    found = result["structuredContent"]
    assert isinstance(found, dict)
    if "status" in found:
        assert isinstance(found["result"], list), found
        return map(str, found["result"])
    assert isinstance(found["results"], list)
    return [str(entry["server"]) for entry in found["results"] if isinstance(entry, dict)]


def everything(**arguments: Json) -> JsonObject:
    """A search that lists every server."""
    return tool("search", query="", max_depth=0, **arguments)


START = request("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}})
PROMPTS, TOOLS, SERVERS = request("prompts/list"), request("tools/list"), everything()


def by_path(path: str, body: JsonObject) -> Way:
    """``{}`` in the path is the endpoint."""

    async def way(http: httpx.AsyncClient, name: str, headers: dict[str, str]) -> Answer:
        return await send(http, path.format(name), body, headers)

    return way


def by_header(path: str, body: JsonObject) -> Way:
    """The endpoint in ``X-Namespace``."""

    async def way(http: httpx.AsyncClient, name: str, headers: dict[str, str]) -> Answer:
        return await send(http, path, body, {**headers, "X-Namespace": name})

    return way


def by_argument(path: str, meta_tool: str, **arguments: Json) -> Way:
    """The endpoint in the argument ``namespace``."""

    async def way(http: httpx.AsyncClient, name: str, headers: dict[str, str]) -> Answer:
        body = tool(meta_tool, namespace=name, **arguments)
        return await send(http, path.format(name), body, headers)

    return way


def in_era(path: str, body: JsonObject) -> Way:
    """Protocol 2026-07-28; the endpoint in the path, or in the header where the path has none."""

    async def way(http: httpx.AsyncClient, name: str, headers: dict[str, str]) -> Answer:
        new, needed = stateless(body)
        place = {} if "{}" in path else {"X-Namespace": name}
        return await send(http, path.format(name), new, {**headers, **needed, **place})

    return way


async def argument_in_era(http: httpx.AsyncClient, name: str, headers: dict[str, str]) -> Answer:
    """The argument ``namespace`` in protocol 2026-07-28."""
    new, needed = stateless(everything(namespace=name))
    return await send(http, "/mcp", new, {**headers, **needed})


async def session(http: httpx.AsyncClient, name: str, headers: dict[str, str]) -> Answer:
    """A session at ``/mcp/{name}``, from the handshake to its end."""
    path = f"/mcp/{name}"
    begun = await http.post(path, json=START, headers=headers)
    if begun.status_code != 200:
        challenge = begun.headers.get("WWW-Authenticate", "")
        return read(begun.status_code, begun.json(), challenge)
    within = {**headers, SESSION: begun.headers[SESSION]}
    answer = await send(http, path, PROMPTS, within)
    assert (await http.delete(path, headers=within)).status_code == 204
    return answer


async def opened(http: httpx.AsyncClient, path: str, headers: dict[str, str]) -> dict[str, str]:
    """The header of a new session."""
    begun = await http.post(path, json=START, headers=headers)
    return {SESSION: begun.headers[SESSION]}


def as_object(value: Json) -> JsonObject:
    """The value, which is an object."""
    assert isinstance(value, dict), value
    return value


async def stream(http: httpx.AsyncClient, name: str, headers: dict[str, str]) -> Answer:
    """HTTP+SSE at ``/sse/{name}``: the stream, and a POST to the URI that it gave."""
    return await _streamed(http, f"/sse/{name}", headers)


async def stream_by_header(http: httpx.AsyncClient, name: str, headers: dict[str, str]) -> Answer:
    """HTTP+SSE at ``/sse``, the endpoint in ``X-Namespace``."""
    return await _streamed(http, "/sse", {**headers, "X-Namespace": name})


async def _streamed(http: httpx.AsyncClient, path: str, headers: dict[str, str]) -> Answer:
    async with http.stream("GET", path, headers=headers) as response:
        if response.status_code != 200:
            refusal = json.loads(await response.aread())
            challenge = response.headers.get("WWW-Authenticate", "")
            return read(response.status_code, refusal, challenge)
        async with aclosing(_seen(response)) as seen:
            where = (await anext(seen)).data
            taken = await http.post(where, json=PROMPTS, headers=headers)
            assert taken.status_code == 202, taken.text
            return read(200, (await anext(seen)).message)


async def _seen(response: httpx.Response) -> AsyncGenerator[Seen, None]:
    async for event in events(response):
        yield event


BY_PATH: dict[str, Way] = {
    "POST /mcp/{}": by_path("/mcp/{}", PROMPTS),
    "POST /mcp/{}, stateless": in_era("/mcp/{}", PROMPTS),
    "POST /mcp/{}, a session": session,
    "POST /mcp/{}?mode=direct": by_path("/mcp/{}?mode=direct", TOOLS),
    "POST /mcp/{}?mode=both": by_path("/mcp/{}?mode=both", TOOLS),
    "POST /mcp/{}?mode=code": by_path("/mcp/{}?mode=code", SERVERS),
    "POST /mcp/{}?mode=direct, stateless": in_era("/mcp/{}?mode=direct", TOOLS),
    "POST /sse/{}": by_path("/sse/{}", PROMPTS),
    "POST /sse/{}?mode=direct": by_path("/sse/{}?mode=direct", TOOLS),
    "GET /sse/{}": stream,
    "the argument beside the path": by_argument(
        "/sse/{}?mode=code", "search", query="", max_depth=0
    ),
}
BY_HEADER: dict[str, Way] = {
    "POST /message": by_header("/message", PROMPTS),
    "POST /mcp": by_header("/mcp", PROMPTS),
    "POST /mcp, stateless": in_era("/mcp", PROMPTS),
    "POST /mcp?mode=direct": by_header("/mcp?mode=direct", TOOLS),
    "POST /sse?mode=code": by_header("/sse?mode=code", SERVERS),
}
BY_ARGUMENT: dict[str, Way] = {
    "search on /message": by_argument("/message", "search", query="", max_depth=0),
    "search on /mcp, stateless": argument_in_era,
    "mcproxy_execute on /mcp": by_argument("/mcp", "mcproxy_execute", code=MANIFEST),
}
