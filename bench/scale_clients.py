"""Clients of both eras before a balancer, who keep account of what they were told.

Each client sends one request after another, never the same again, and counts every one by how it
ended. What was acknowledged it remembers, and asks for: a counter that it keeps in its stash, and
entries that it writes into a ledger behind the gateways, which is compared afterwards.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from mcproxy import mcp
from mcproxy.types import Json, JsonObject

ANSWERED = "answered"
RESUMED = "answered on a stream that was taken up again"
RATE = "refused by the rate limit"
WRONG = "acknowledged, and not there"
SESSION_GONE = "session not known any more"
TAKEN_UP = 20  # times that a stream is asked for again
PAUSE_SECS = 0.05  # between two requests of a client
AGAIN_SECS = 0.5
WAIT_SECS = 20.0  # for a reply
HANDSHAKE = "2025-11-25"
BOTH = "application/json, text/event-stream"
LIMITED = "/mcp/limited"

# What a failure says, and what it is called in the table.
_SAID: Mapping[str, str] = {
    "has ended before there was an answer": "told that its gateway has ended under it",
    "gateway has ended under": "told that its gateway has ended under it",
    "state that it shares": "refused: the store is away",
    "state that gateways share": "refused: the store is away",
    "is stopping": "refused: the gateway is stopping",
    "shutting down": "refused: the gateway is stopping",
    "calls a minute": RATE,
    "there is no session": SESSION_GONE,
}


class Refused(Exception):
    """The request was not answered with what it asked for; why, in the words of the table."""


@dataclass
class Account:
    """What all clients were told: by the kind of a request, how often it ended in what way; the
    entries of the ledger that were sent, and those that were acknowledged."""

    ended: dict[str, Counter[str]] = field(default_factory=dict)
    sent: set[str] = field(default_factory=set)
    acknowledged: set[str] = field(default_factory=set)
    examples: dict[str, str] = field(default_factory=dict)

    async def count(self, kind: str, work: Awaitable[str]) -> bool:
        """Count one request; whether it was answered."""
        try:
            how = await work
        except Refused as refused:
            how = str(refused)
        self.ended.setdefault(kind, Counter())[how] += 1
        return how in (ANSWERED, RESUMED)


@dataclass
class Client:
    """One client; ``name`` is its own. ``stateless`` tells its era."""

    http: httpx.AsyncClient
    account: Account
    name: str
    stateless: bool
    path: str = "/mcp"
    headers: dict[str, str] = field(default_factory=dict)
    _number: int = 0
    _stash: str = ""  # its session, where the script names it
    _acked: int = 0
    _tried: int = 0

    async def run(self, until: Callable[[], bool]) -> None:
        """Send requests of every kind in turn; at last see what is there of what was kept."""
        await self._begin()
        rounds = (self._direct, self._keep, self._read, self._enter, self._streamed)
        kinds = ("direct call", "execute, writes stash", "execute, reads stash")
        names = (*kinds, "direct call that writes", "call on a stream")
        while not until():
            for kind, work in zip(names, rounds, strict=True):
                if self.stateless and work == self._streamed:
                    continue
                await self.account.count(f"{self._era}: {kind}", work())
                await asyncio.sleep(PAUSE_SECS)
        await self._until_answered("last look at the stash", self._read)

    async def enter_only(self, until: Callable[[], bool]) -> None:
        """Write into the ledger as often as one is let."""
        while not until():
            await self.account.count("calls under a rate limit", self._enter())
            await asyncio.sleep(PAUSE_SECS)

    @property
    def _era(self) -> str:
        return "stateless" if self.stateless else "session"

    async def _begin(self) -> None:
        if not self.stateless:
            await self._until_answered("initialize", self._initialize)
        await self._until_answered("execute, writes stash", self._keep)

    async def _until_answered(self, kind: str, work: Callable[[], Awaitable[str]]) -> None:
        while not await self.account.count(f"{self._era}: {kind}", work()):  # noqa: ASYNC110
            await asyncio.sleep(AGAIN_SECS)

    async def _initialize(self) -> str:
        info: JsonObject = {"name": self.name, "version": "1"}
        hello: JsonObject = {
            "protocolVersion": HANDSHAKE,
            "capabilities": {},
            "clientInfo": info,
        }
        self.headers = {}
        reply = await self._post(_request("initialize", hello, 0))
        self.headers = {
            mcp.SESSION_HEADER: reply.headers[mcp.SESSION_HEADER],
            mcp.VERSION_HEADER: HANDSHAKE,
        }
        await self._post({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return ANSWERED

    async def _direct(self) -> str:
        told = await self._call("echo__echo", {"text": self.name})
        return ANSWERED if told == {"text": self.name} else self._wrong(told)

    async def _enter(self) -> str:
        self._number += 1
        entry = f"{self.name}-{self._number}"
        self.account.sent.add(entry)
        server = "limited" if self.path == LIMITED else "ledger"
        await self._call(f"{server}__add", {"entry": entry})
        self.account.acknowledged.add(entry)
        return ANSWERED

    async def _keep(self) -> str:
        self._tried += 1
        wanted = self._tried
        await self._execute(f'api.stash["n"] = {wanted}')
        self._acked = wanted
        return ANSWERED

    async def _read(self) -> str:
        acked = self._acked
        there = await self._execute('api.stash["n"]')
        fine = isinstance(there, int) and acked <= there <= self._tried
        return ANSWERED if fine else self._wrong(there)

    async def _execute(self, code: str) -> Json:
        where: JsonObject = {"session": self._stash or "new"} if self.stateless else {}
        told = await self._call("execute", {"code": code, **where})
        if self.stateless:
            self._stash = str(told["session"])
        if "result" not in told and "error" in told:
            raise self._refused(json.dumps(told))
        return told.get("result")

    def _wrong(self, told: Json) -> str:
        self.account.examples[WRONG] = f"{self.name}: {told!r}, acknowledged {self._acked}"
        return WRONG

    async def _call(self, tool: str, arguments: JsonObject) -> JsonObject:
        params: JsonObject = {"name": tool, "arguments": arguments}
        return self._facts((await self._post(self._message(params))).text)

    def _message(self, params: JsonObject) -> JsonObject:
        if self.stateless:
            info: JsonObject = {"name": self.name, "version": "1"}
            meta: JsonObject = {
                mcp.META_VERSION: mcp.STATELESS_VERSION,
                mcp.META_CLIENT_INFO: info,
                mcp.META_CLIENT_CAPABILITIES: {},
            }
            params = {**params, "_meta": meta}
            self.headers = {
                mcp.VERSION_HEADER: mcp.STATELESS_VERSION,
                "Mcp-Method": "tools/call",
                "Mcp-Name": str(params["name"]),
            }
        return _request("tools/call", params, "call")

    async def _post(self, message: JsonObject) -> httpx.Response:
        try:
            reply = await self.http.post(
                self.path, json=message, headers={**self.headers, "Accept": BOTH}
            )
        except httpx.HTTPError as fault:
            raise self._refused(f"{type(fault).__name__} at the balancer") from fault
        if reply.status_code >= 400:
            raise self._refused(_balancer(reply.status_code, reply.text))
        return reply

    def _facts(self, body: str) -> JsonObject:
        reply = _reply(body)
        result = reply.get("result")
        if not isinstance(result, dict) or result.get("isError"):
            raise self._refused(json.dumps(reply))
        content = result.get("structuredContent", {})
        return content if isinstance(content, dict) else {}

    def _refused(self, said: str) -> Refused:
        kind = next((name for part, name in _SAID.items() if part in said), said[:90])
        self.account.examples.setdefault(kind, f"{self.name}: {said[:600]}")
        return Refused(kind)

    async def _streamed(self) -> str:
        """A call whose stream is taken up again wherever it breaks."""
        arguments: JsonObject = {"secs": 0.5}
        params: JsonObject = {
            "name": "echo__sleep",
            "arguments": arguments,
            "_meta": {"progressToken": "p"},
        }
        last = ""
        for attempt in range(TAKEN_UP):
            how: dict[str, Any] = (
                {"method": "GET", "headers": {**self.headers, "Last-Event-ID": last}}
                if last
                else {"method": "POST", "json": self._message(params), "headers": self.headers}
            )
            said = ""
            async for id_, data in self._events(how):
                last = id_ or last
                if data and '"id":"call"' in data.replace(" ", ""):
                    said = data
                    break
            if said:
                self._facts(said)
                return RESUMED if attempt else ANSWERED
            if not last:
                raise self._refused("the stream broke before its first event")
            await asyncio.sleep(AGAIN_SECS)
        raise self._refused("the stream could not be taken up again")

    async def _events(self, how: dict[str, Any]) -> AsyncIterator[tuple[str, str]]:
        headers = {**how.pop("headers"), "Accept": BOTH}
        try:
            async with self.http.stream(url=self.path, headers=headers, **how) as reply:
                if reply.status_code >= 400:
                    text = (await reply.aread()).decode()
                    raise self._refused(_balancer(reply.status_code, text))
                id_ = ""
                async for line in reply.aiter_lines():
                    name, _, value = line.partition(": ")
                    if name == "id":
                        id_ = value
                        yield id_, ""
                    elif name == "data":
                        yield id_, value
        except httpx.HTTPError:
            return


def _balancer(status: int, text: str) -> str:
    """nginx's own answers are pages."""
    return f"{status} of the balancer" if "<html" in text else f"{status}: {text}"


def _request(method: str, params: JsonObject, id_: Json) -> JsonObject:
    return {"jsonrpc": "2.0", "id": id_, "method": method, "params": params}


def _reply(body: str) -> JsonObject:
    """The reply in a JSON body, or on a stream of events."""
    lines = (line.removeprefix("data:").strip() for line in body.splitlines())
    for line in [body, *lines]:
        if line.startswith("{"):
            found: JsonObject = json.loads(line)
            if "result" in found or "error" in found:
                return found
    return {"error": f"no reply in {body[:80]!r}"}
