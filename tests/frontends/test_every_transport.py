"""The same exchanges over every transport: what is promised to one client is promised to all.

The gateway and its scripts are as in ``serving``; clients are driven by hand, over real sockets and
pipes, so that each message is seen as it was sent.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress

import httpx
import pytest

from mcproxy import mcp
from mcproxy.errors import RpcError
from mcproxy.frontends import stdio
from mcproxy.frontends.conversation import MAX_RUNNING
from mcproxy.frontends.pipes import reading, writing
from mcproxy.types import Json, JsonObject
from tests.frontends.serving import (
    BOTH,
    BOUND_SECS,
    CONFIG,
    Served,
    events,
    request,
    script,
    serving,
)

ASKABLE: JsonObject = {"elicitation": {}}
HELLO = request(
    "initialize", {"protocolVersion": "2025-06-18", "capabilities": ASKABLE}, id_="hello"
)
CANCELLED: JsonObject = {
    "jsonrpc": "2.0",
    "method": "notifications/cancelled",
    "params": {"requestId": "cancelled"},
}


class Talk:
    """One client: what it sends, and all that it hears, in order."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.heard: asyncio.Queue[Json] = asyncio.Queue()

    async def send(self, message: Json) -> None:
        """Send a message, or a batch."""
        raise NotImplementedError

    async def next(self) -> Json:
        """The next message that arrives."""
        async with asyncio.timeout(BOUND_SECS):
            return await self.heard.get()

    async def reply(self) -> JsonObject:
        """The next reply; what is said before it is passed over."""
        while True:
            message = await self.next()
            if isinstance(message, dict) and "method" not in message:
                return message

    async def cancel(self) -> None:
        """Cancel the request whose id is ``cancelled``."""
        await self.send(CANCELLED)

    async def works(self) -> None:
        """Whatever happened before, the next request is answered."""
        await self.send(request("tools/list", id_="works"))
        answer = await self.reply()
        assert (answer["id"], "result" in answer) == ("works", True)


class Posting(Talk):
    """Each message is a POST to ``path``; what comes back is JSON or an event stream."""

    def __init__(self, served: Served, tasks: asyncio.TaskGroup, path: str) -> None:
        super().__init__(served)
        self._tasks, self._path = tasks, path
        self.headers = {"Accept": BOTH}
        self._sent: dict[str, asyncio.Task[None]] = {}

    async def send(self, message: Json) -> None:
        task = self._tasks.create_task(self._post(self._dressed(message)))
        if isinstance(message, dict) and "id" in message:
            self._sent[str(message["id"])] = task

    def _dressed(self, message: Json) -> tuple[Json, dict[str, str]]:
        return message, self.headers

    async def _post(self, dressed: tuple[Json, dict[str, str]]) -> None:
        body, headers = dressed
        async with self.served.http.stream("POST", self._path, json=body, headers=headers) as got:
            if got.headers.get("content-type", "").startswith("text/event-stream"):
                async for each in events(got):
                    if each.data:
                        await self.heard.put(each.message)
            elif text := await got.aread():
                await self.heard.put(json.loads(text))

    def leave(self) -> None:
        for task in self._sent.values():
            task.cancel()


class Stateless(Posting):
    """Protocol 2026-07-28: closing the connection cancels the request."""

    def _dressed(self, message: Json) -> tuple[Json, dict[str, str]]:
        assert isinstance(message, dict)
        params = message.get("params")
        assert isinstance(params, dict)
        given = params.get("_meta")
        meta: JsonObject = {
            **(given if isinstance(given, dict) else {}),
            "io.modelcontextprotocol/protocolVersion": mcp.STATELESS_VERSION,
            "io.modelcontextprotocol/clientCapabilities": {},
        }
        headers = {**self.headers, "MCP-Protocol-Version": mcp.STATELESS_VERSION}
        headers["Mcp-Method"] = str(message["method"])
        if "name" in params:
            headers["Mcp-Name"] = str(params["name"])
        return {**message, "params": {**params, "_meta": meta}}, headers

    async def cancel(self) -> None:
        self._sent["cancelled"].cancel()


class Plain(Posting):
    """``/message``: the same without events."""

    async def cancel(self) -> None:
        self._sent["cancelled"].cancel()


class Sse(Talk):
    """HTTP+SSE: POSTs up, one stream down."""

    path = ""

    async def send(self, message: Json) -> None:
        assert (await self.served.http.post(self.path, json=message)).status_code == 202

    async def listen(self, opened: asyncio.Event) -> None:
        async with self.served.http.stream("GET", "/sse") as stream:
            async for each in events(stream):
                if each.name == "endpoint":
                    self.path = each.data
                    opened.set()
                else:
                    await self.heard.put(each.message)


class Stdio(Talk):
    """Two pipes."""

    fd = -1

    async def send(self, message: Json) -> None:
        line = json.dumps(message).encode() + b"\n"
        await asyncio.to_thread(os.write, self.fd, line)

    async def listen(self, chunks: AsyncIterator[bytes]) -> None:
        rest = b""
        async for chunk in chunks:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                await self.heard.put(json.loads(line))


Open = Callable[[Served], AbstractAsyncContextManager[Talk]]


@asynccontextmanager
async def over_stdio(served: Served) -> AsyncIterator[Talk]:
    talk = Stdio(served)
    (theirs_in, talk.fd), (ours, theirs_out) = os.pipe(), os.pipe()
    async with (
        reading(theirs_in) as chunks,
        writing(theirs_out) as write,
        reading(ours) as heard,
        asyncio.TaskGroup() as tasks,
    ):
        serving = tasks.create_task(stdio.serve(served.world.gateway, served.gate, chunks, write))
        listening = tasks.create_task(talk.listen(heard))
        await talk.send(HELLO)
        await talk.reply()
        try:
            yield talk
        finally:
            served.scripts.go.set()
            os.close(talk.fd)
            await asyncio.wait([serving])
            listening.cancel()


@asynccontextmanager
async def over_sse(served: Served) -> AsyncIterator[Talk]:
    talk = Sse(served)
    async with asyncio.timeout(3 * BOUND_SECS), asyncio.TaskGroup() as tasks:
        opened = asyncio.Event()
        listening = tasks.create_task(talk.listen(opened))
        await opened.wait()
        await talk.send(HELLO)
        await talk.reply()
        yield talk
        listening.cancel()


@asynccontextmanager
async def over_session(served: Served) -> AsyncIterator[Talk]:
    async with asyncio.TaskGroup() as tasks:
        talk = Posting(served, tasks, "/mcp")
        talk.headers = await served.open("2025-06-18", elicitation={})
        yield talk
        talk.leave()


def posting(kind: type[Posting], path: str) -> Open:
    @asynccontextmanager
    async def opened(served: Served) -> AsyncIterator[Talk]:
        async with asyncio.TaskGroup() as tasks:
            talk = kind(served, tasks, path)
            yield talk
            talk.leave()

    return opened


WITH_SESSION: dict[str, Open] = {"stdio": over_stdio, "sse": over_sse, "session": over_session}
STREAMING: dict[str, Open] = {**WITH_SESSION, "stateless": posting(Stateless, "/mcp")}
ALL: dict[str, Open] = {**STREAMING, "message": posting(Plain, "/message")}


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serving() as made:
        made.http.timeout = httpx.Timeout(None)  # the test's own bounds are shorter
        yield made


def over(transports: dict[str, Open]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("opened", transports.values(), ids=transports)


@pytest.mark.requirement("transports.same")
@over(ALL)
async def test_a_result(served: Served, opened: Open) -> None:
    async with opened(served) as talk:
        await talk.send(script("say 0", "a"))
        answer = await talk.reply()
        assert answer["id"] == "a"
        assert isinstance(answer["result"], dict)
        assert not answer["result"].get("isError")


@pytest.mark.requirement("transports.same")
@over(ALL)
async def test_errors(served: Served, opened: Open) -> None:
    async with opened(served) as talk:
        await talk.send(request("no/such", id_="a"))
        assert _error(await talk.reply()) == ("a", RpcError.METHOD_NOT_FOUND)
        await talk.send(request("prompts/get", {"name": "absent"}, id_="b"))
        assert _error(await talk.reply()) == ("b", RpcError.INVALID_PARAMS)
        await talk.works()


@pytest.mark.requirement("transports.same")
@over(ALL)
async def test_a_fault_of_the_gateway_ends_one_request(served: Served, opened: Open) -> None:
    async with opened(served) as talk:
        await talk.send(script("fail", "a"))
        assert _error(await talk.reply()) == ("a", RpcError.INTERNAL_ERROR)
        await talk.works()


@pytest.mark.requirement("stdio.cancel")
async def test_what_is_cancelled_gets_no_reply_though_the_input_ends(served: Served) -> None:
    written: list[bytes] = []

    async def chunks() -> AsyncIterator[bytes]:
        yield b"".join(
            json.dumps(one).encode() + b"\n" for one in (script("wait", "cancelled"), CANCELLED)
        )

    async def write(chunk: bytes) -> None:
        written.append(chunk)

    await stdio.serve(served.world.gateway, served.gate, chunks(), write)
    assert written == []


@pytest.mark.requirement("transports.same")
async def test_a_client_that_may_not_enter_is_told_and_harms_nothing() -> None:
    token: JsonObject = {"name": "ada", "token": "t0k3n", "namespaces": ["public"]}
    guarded: JsonObject = {
        "servers": {},
        "namespaces": {"public": {"require_auth": True}},
        "auth": {"tokens": [token]},
    }
    async with serving(config=guarded) as served, over_stdio(served) as talk:
        await talk.send({**HELLO, "id": "again"})
        assert _error(await talk.reply()) == ("again", RpcError.INVALID_PARAMS)
        await talk.send(request("ping", id_="a"))
        assert (await talk.reply())["result"] == {}


@pytest.mark.requirement("transports.same")
@over(STREAMING)
async def test_a_long_script_sends_progress(served: Served, opened: Open) -> None:
    async with opened(served) as talk:
        await talk.send(script("wait", "a", token="t"))
        note = await talk.next()
        assert isinstance(note, dict)
        assert note["method"] == "notifications/progress"
        assert isinstance(note["params"], dict)
        assert note["params"]["progressToken"] == "t"
        served.scripts.go.set()
        assert (await talk.reply())["id"] == "a"


@pytest.mark.requirement("progress.silent")
@over(STREAMING)
@pytest.mark.parametrize("tool", ["echo__hush", "execute", "call"])
async def test_while_a_server_is_silent_there_are_signs_of_life(opened: Open, tool: str) -> None:
    mode = "call" if tool == "call" else "both"
    config: JsonObject = {**CONFIG, "namespaces": {"public": {"mode": mode}}, "auth": {}}
    config["servers"] = {"echo": {"command": "echo"}}
    asked: dict[str, JsonObject] = {"call": {"server": "echo", "tool": "hush", "arguments": {}}}
    asked["execute"] = {"code": "wait\nprogress half"}
    params: JsonObject = {
        "name": tool,
        "arguments": asked.get(tool, {}),
        "_meta": {"progressToken": "t"},
    }
    told: list[JsonObject] = []
    async with AsyncExitStack() as stack:
        served = await stack.enter_async_context(serving(config=config, quiet_secs=0.02))
        served.world.publish("hush", "progress")
        talk = await stack.enter_async_context(opened(served))
        await talk.send(request("tools/call", params, "a"))
        while len(told) < 4:
            told.append(_progress(await talk.next()))
            if len(told) == 3:
                served.scripts.go.set()
        while "half" not in str(told[-1].get("message")) and told[-1].get("total") != 3:
            told.append(_progress(await talk.next()))
        assert all("s" in str(note["message"]) for note in told[:3])
        values = [float(str(note["progress"])) for note in told]
        assert values == sorted(set(values))
        if tool != "execute":
            assert values[-1] == 1, "what the server says is passed on as it is"
        assert "result" in await talk.reply()


@pytest.mark.requirement("transports.same")
@pytest.mark.requirement("execute.progress")
@over(STREAMING)
async def test_progress_within_a_script_is_the_scripts(served: Served, opened: Open) -> None:
    async with opened(served) as talk:
        await talk.send(script("progress half\nprogress most", "a", token="t"))
        values: list[float] = []
        for words in ("half", "most"):
            note = await talk.next()
            assert isinstance(note, dict)
            assert isinstance(note["params"], dict)
            assert note["params"]["progressToken"] == "t"
            assert note["params"]["message"] == f"echo.progress: {words} (1)"
            values.append(float(str(note["params"]["progress"])))
        assert 0 < values[0] < values[1]
        assert (await talk.reply())["id"] == "a"


@pytest.mark.requirement("transports.same")
@over(ALL)
async def test_a_cancelled_request_is_stopped(served: Served, opened: Open) -> None:
    async with opened(served) as talk, asyncio.timeout(BOUND_SECS):
        await talk.send(script("wait", "cancelled"))
        await served.scripts.waiting.wait()
        await talk.cancel()
        await served.scripts.cancelled.wait()
        await talk.works()


@pytest.mark.requirement("transports.same")
async def test_a_request_that_is_cancelled_as_the_gateway_stops_gets_no_reply(
    served: Served,
) -> None:
    """Over stdio, where a client that says its last words closes its end at once."""
    async with (
        over_stdio(served) as talk,
        asyncio.timeout(BOUND_SECS),
        asyncio.TaskGroup() as tasks,
    ):
        await talk.send(script("cling", "cancelled"))
        await served.scripts.waiting.wait()
        await talk.cancel()
        await served.scripts.cancelled.wait()
        tasks.create_task(served.gate.drain())
        served.scripts.go.set()
        await talk.works()  # no reply came before this one


@pytest.mark.requirement("transports.same")
@over(WITH_SESSION)
async def test_requests_under_way_are_bounded(served: Served, opened: Open) -> None:
    async with opened(served) as talk:
        for number in range(MAX_RUNNING):
            await talk.send(script("wait", number))
        async with asyncio.timeout(BOUND_SECS), served.scripts.starting:
            await served.scripts.starting.wait_for(lambda: served.scripts.started == MAX_RUNNING)
        await talk.send(request("ping", id_="one more"))
        assert _error(await talk.reply()) == ("one more", mcp.TOO_MANY_REQUESTS)
        served.scripts.go.set()
        ids = {(await talk.reply())["id"] for _ in range(MAX_RUNNING)}
        assert ids == set(range(MAX_RUNNING))
        await talk.works()


@pytest.mark.requirement("transports.same")
@over(WITH_SESSION)
async def test_a_client_is_asked(served: Served, opened: Open) -> None:
    async with opened(served) as talk:
        await talk.send(script("ask elicitation/create", "a"))
        question = await talk.next()
        assert isinstance(question, dict)
        assert question["method"] == "elicitation/create"
        await talk.send({"jsonrpc": "2.0", "id": question["id"], "result": {"action": "accept"}})
        assert "accept" in json.dumps(await talk.reply())


@pytest.mark.requirement("transports.same")
@over(ALL)
async def test_a_notification_has_no_answer(served: Served, opened: Open) -> None:
    async with opened(served) as talk:
        note: JsonObject = {
            "jsonrpc": "2.0",
            "method": "notifications/roots/list_changed",
            "params": {},
        }
        await talk.send(note)
        await talk.works()
        with suppress(asyncio.QueueEmpty):
            raise AssertionError(talk.heard.get_nowait())


@pytest.mark.requirement("transports.same")
@over({name: ALL[name] for name in ("stdio", "sse", "session", "message")})
async def test_all_of_a_batch_is_answered(served: Served, opened: Open) -> None:
    async with opened(served) as talk:
        await talk.send([request("ping", id_="a"), 7, request("no/such", id_="b")])
        answers: list[Json] = []
        while len(answers) < 3:
            said = await talk.next()
            answers += said if isinstance(said, list) else [said]
        codes = {str(each["id"]): each.get("error") for each in answers if isinstance(each, dict)}
        assert codes.keys() == {"a", "b", "None"}
        assert codes["a"] is None
        await talk.works()


def _progress(note: Json) -> JsonObject:
    """The parameters of a notification of progress of the token ``t``."""
    assert isinstance(note, dict)
    assert note["method"] == "notifications/progress"
    params = note["params"]
    assert isinstance(params, dict)
    assert params["progressToken"] == "t"
    return params


def _error(answer: JsonObject) -> tuple[Json, Json]:
    error = answer["error"]
    assert isinstance(error, dict), answer
    return answer["id"], error["code"]
