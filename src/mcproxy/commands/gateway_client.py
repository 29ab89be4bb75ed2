"""A gateway as commands see it: what ``/health`` and ``/metrics`` tell, and its tools.

Speaks to one that runs, or to one that was started in this process for the command; which of the
two it is, only the HTTP client that is handed in knows. Keeps no session.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

import httpx
import msgspec

from mcproxy.errors import McproxyError
from mcproxy.types import Json, JsonObject

CONNECT_SECS = 5.0
MAX_SCRIPT_SECS = 3600.0  # no script, and no call, is waited for longer
_SAMPLE = re.compile(r"^(\w+)(?:\{([^}]*)\})? (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class GatewayRefused(McproxyError):
    """The gateway cannot be asked, or has refused."""


class Sample(msgspec.Struct, frozen=True):
    """One value of ``/metrics``."""

    name: str
    labels: Mapping[str, str]
    value: float


class GatewayClient:
    """``namespace`` empty: the default one. Each method raises GatewayRefused."""

    def __init__(self, http: httpx.AsyncClient, url: str, namespace: str = "") -> None:
        self.url = url
        self._http, self._namespace = http, namespace

    async def health(self) -> JsonObject:
        """What ``/health`` tells; a gateway that stops tells it too."""
        response = await self._sent(self._http.build_request("GET", "/health"))
        told = _document(response)
        if "servers" not in told:
            raise GatewayRefused(f"{self.url}: {_refusal(response, told)}")
        return told

    async def metrics(self) -> list[Sample]:
        """What ``/metrics`` counts."""
        response = await self._sent(self._http.build_request("GET", "/metrics"))
        return [
            Sample(name, dict(_LABEL.findall(labels or "")), float(value))
            for name, labels, value in _SAMPLE.findall(response.text)
        ]

    async def ask(self, method: str, params: JsonObject, mode: str = "code") -> JsonObject:
        """The result of a request, in a mode of the namespace."""
        path = f"/sse/{self._namespace}" if self._namespace else "/sse"
        body: JsonObject = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        request = self._http.build_request("POST", path, json=body, params={"mode": mode})
        response = await self._sent(request)
        told = _document(response)
        result = told.get("result")
        if not isinstance(result, dict):
            raise GatewayRefused(_refusal(response, told))
        return result

    async def direct_tools(self) -> list[JsonObject]:
        """All tools of the namespace as clients in direct mode see them."""
        found: list[JsonObject] = []
        cursor: Json = None
        while True:
            page = await self.ask("tools/list", {"cursor": cursor} if cursor else {}, "direct")
            found += objects_of(page.get("tools"))
            cursor = page.get("nextCursor")
            if not cursor:
                return found

    async def tool(self, name: str, arguments: JsonObject) -> JsonObject:
        """What a meta-tool answers, its facts; those of a failed script too."""
        result = await self.ask("tools/call", {"name": name, "arguments": arguments})
        facts = result.get("structuredContent")
        if not isinstance(facts, dict):
            raise GatewayRefused(text_of(result))
        return facts

    async def decide(self, method: str, path: str) -> JsonObject:
        """What an operator asks of what waits for a person; nothing where a ``POST`` names what is
        not there."""
        response = await self._sent(self._http.build_request(method, path))
        if response.status_code == httpx.codes.NOT_FOUND and method == "POST":
            return {}
        told = _document(response)
        if response.is_error:
            raise GatewayRefused(f"{self.url}: {_refusal(response, told)}")
        return told

    async def _sent(self, request: httpx.Request) -> httpx.Response:
        try:
            return await self._http.send(request)
        except httpx.HTTPError as error:
            why = str(error) or type(error).__name__
            raise GatewayRefused(f"the gateway at {self.url} cannot be reached: {why}") from error


Work: TypeAlias = Callable[[GatewayClient], Awaitable[int]]


def http_client(
    url: str, token: str | None, transport: httpx.AsyncBaseTransport | None = None
) -> httpx.AsyncClient:
    """A client for ``GatewayClient``; no proxy stands before one's own gateway."""
    return httpx.AsyncClient(
        base_url=url,
        headers={"Authorization": f"Bearer {token}"} if token else {},
        timeout=httpx.Timeout(MAX_SCRIPT_SECS, connect=CONNECT_SECS),
        transport=transport,
        trust_env=False,
    )


def text_of(result: JsonObject) -> str:
    """The text in a tool's result."""
    content = result.get("content")
    blocks = content if isinstance(content, list) else []
    texts = [block.get("text") for block in blocks if isinstance(block, dict)]
    return "\n".join(text for text in texts if isinstance(text, str))


def objects_of(value: Json) -> list[JsonObject]:
    """The objects of a JSON list; none where it is something else."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _document(response: httpx.Response) -> JsonObject:
    try:
        told: Json = response.json()
    except ValueError:
        told = None
    return told if isinstance(told, dict) else {}


def _refusal(response: httpx.Response, told: JsonObject) -> str:
    error = told.get("error")
    message = error.get("message") if isinstance(error, dict) else error
    hint = (
        "; give its token with --token" if response.status_code == httpx.codes.UNAUTHORIZED else ""
    )
    return f"{message or f'HTTP status {response.status_code}'}{hint}"
