"""Streamable HTTP with sessions, over a real socket: each rule of the transport by itself."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator

import httpx
import pytest

from mcproxy import mcp
from mcproxy.frontends.conversation import MAX_RUNNING
from mcproxy.frontends.sessions import Bounds
from mcproxy.gateway.request import RequestSource
from mcproxy.types import Caller, Json, JsonObject
from tests.frontends.serving import (
    BOTH,
    BOUND_SECS,
    HERE,
    Seen,
    Served,
    events,
    request,
    script,
    serving,
)

LIST = request("tools/list")


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with asyncio.timeout(BOUND_SECS), serving() as running:
        yield running


@pytest.mark.requirement("mcp.sessions")
async def test_a_session_from_beginning_to_end(served: Served) -> None:
    headers = await served.open()
    note: JsonObject = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    taken = await served.http.post("/mcp", json=note, headers=headers)
    assert (taken.status_code, taken.content) == (202, b"")
    listed = await served.http.post("/mcp", json=LIST, headers=headers)
    assert listed.headers["content-type"] == "application/json"
    assert "Mcp-Session-Id" not in listed.headers
    assert len(listed.json()["result"]["tools"]) == 2
    ended = await served.http.delete("/mcp", headers=headers)
    assert ended.status_code == 204
    for reply in (
        await served.http.post("/mcp", json=LIST, headers=headers),
        await served.http.get("/mcp", headers=headers),
        await served.http.delete("/mcp", headers=headers),
    ):
        assert reply.status_code == 404
        assert "initialize" in reply.json()["error"]["message"]


@pytest.mark.requirement("mcp.lenient")
async def test_a_client_without_session_is_answered(served: Served) -> None:
    assert (await served.http.post("/mcp", json=LIST)).json()["result"]["tools"]
    replies = (await served.http.post("/mcp", json=[LIST, request("ping", id_="x")])).json()
    assert [reply["id"] for reply in replies] == [1, "x"]
    curl = {"Accept": "*/*", "Content-Type": "application/x-www-form-urlencoded"}
    reply = await served.http.post("/mcp", content=b'{"id":1,"method":"ping"}', headers=curl)
    assert reply.json()["result"] == {}


@pytest.mark.requirement("mcp.faults")
@pytest.mark.parametrize(
    ("method", "headers", "body", "status", "words"),
    [
        ("POST", {}, b"{oops", 400, "not valid JSON"),
        ("POST", {}, b"[]", 400, "the batch is empty"),
        ("POST", {}, b"5", 400, "not a JSON-RPC message"),
        ("POST", {"Accept": "text/html"}, b"{}", 406, "Accept: application/json"),
        ("POST", {"Content-Type": "text/xml"}, b"{}", 415, "Content-Type: application/json"),
        ("POST", {"MCP-Protocol-Version": "1999"}, b'{"id":1,"method":"ping"}', 400, "2025-11-25"),
        ("POST", {"Mcp-Session-Id": "none"}, b'{"id":1,"method":"ping"}', 404, "no session 'none'"),
        ("POST", {}, b" " * ((4 << 20) + 1), 413, "4194304"),
        ("POST", {"Host": "evil.example"}, b"{}", 403, "evil.example"),
        ("POST", {"Origin": "https://evil.example"}, b"{}", 403, "evil.example"),
        ("POST", {"Authorization": "Bearer wrong"}, b"{}", 401, "not valid"),
        ("GET", {"Accept": "text/event-stream"}, b"", 400, "Mcp-Session-Id is missing"),
        ("GET", {"Accept": "application/json"}, b"", 406, "Accept: text/event-stream"),
        ("GET", {"MCP-Protocol-Version": "2026-07-28"}, b"", 405, "no sessions"),
        ("GET", {"MCP-Protocol-Version": "1999"}, b"", 400, "'1999'"),
        ("DELETE", {}, b"", 400, "Mcp-Session-Id is missing"),
        ("PUT", {}, b"", 405, "PUT is not answered at /mcp"),
        ("HEAD", {}, b"", 405, ""),
    ],
)
async def test_faults_are_told_and_the_next_request_works(
    served: Served, method: str, headers: dict[str, str], body: bytes, status: int, words: str
) -> None:
    reply = await served.http.request(method, "/mcp", content=body, headers=headers)
    assert reply.status_code == status
    assert words in reply.text
    if status == 405:
        assert "POST" in reply.headers["Allow"]
    assert (await served.http.post("/mcp", json=LIST)).status_code == 200


async def test_a_namespace_in_the_path(served: Served) -> None:
    assert (await served.http.post("/mcp/locked", json=LIST)).status_code == 401
    assert (await served.http.get("/mcp/nowhere")).status_code == 401
    params: JsonObject = {"protocolVersion": "2025-06-18"}
    opened = await served.http.post("/mcp/small", json=request("initialize", params))
    headers = {"Mcp-Session-Id": opened.headers["Mcp-Session-Id"]}
    assert (await served.http.post("/mcp/small", json=LIST, headers=headers)).status_code == 200
    assert (await served.http.post("/mcp", json=LIST, headers=headers)).status_code == 404


async def test_what_is_said_before_the_reply_makes_it_a_stream(served: Served) -> None:
    headers = await served.open("2025-06-18")
    async with served.http.stream(
        "POST", "/mcp", json=script("say 2"), headers=headers
    ) as response:
        assert response.headers["content-type"] == "text/event-stream"
        seen = [event async for event in events(response)]
    assert [event.id for event in seen] == ["1-1", "1-2", "1-3"]
    assert [event.message.get("method") for event in seen[:2]] == ["notifications/message"] * 2
    assert seen[2].message["id"] == 1


async def test_a_client_that_reads_json_only_gets_the_rest_on_its_own_stream(
    served: Served,
) -> None:
    headers = await served.open("2025-06-18")
    only = {**headers, "Accept": "application/json"}
    reply = await served.http.post("/mcp", json=script("say 2"), headers=only)
    assert reply.json()["result"]["structuredContent"]["status"] == "success"
    assert [event.message["method"] for event in await _take(served, headers, 2)] == [
        "notifications/message"
    ] * 2


async def test_a_client_that_reads_streams_only(served: Served) -> None:
    headers = {**await served.open("2025-06-18"), "Accept": "text/event-stream"}
    async with served.http.stream("POST", "/mcp", json=LIST, headers=headers) as response:
        (event,) = [event async for event in events(response)]
    assert event.message["id"] == 1


@pytest.mark.requirement("mcp.resume")
async def test_a_lost_stream_is_read_on_from_where_it_was(served: Served) -> None:
    headers = await served.open()
    call = script("say 3\nwait\nsay 2", token="t")
    async with served.http.stream("POST", "/mcp", json=call, headers=headers) as response:
        stream = events(response)
        primed, first = await anext(stream), await anext(stream)
        await served.scripts.waiting.wait()
    assert (primed.id, primed.data, first.id) == ("1-0", "", "1-1")
    served.scripts.go.set()
    rest = await _take(served, {**headers, "Last-Event-ID": first.id}, 6)
    assert [event.id for event in rest[1:]] == ["1-2", "1-3", "1-4", "1-5", "1-6"]
    assert rest[-1].message["id"] == 1
    again = await _take(served, {**headers, "Last-Event-ID": "1-5"}, 2)
    assert again[-1] == rest[-1]
    for unknown in ("9-1", "1-x", "", "-", "1-" + "9" * 5000):
        lost = await served.http.get("/mcp", headers={**headers, "Last-Event-ID": unknown})
        assert lost.status_code == 400


async def test_a_lost_stream_that_nobody_comes_back_for_ends_its_request() -> None:
    async with asyncio.timeout(BOUND_SECS), serving(Bounds(resume_secs=0.01)) as served:
        headers = await served.open()
        call = script("wait", token="t")
        async with served.http.stream("POST", "/mcp", json=call, headers=headers) as response:
            await anext(events(response))
            await served.scripts.waiting.wait()
        await served.scripts.cancelled.wait()


async def test_a_stream_that_another_connection_took_over_is_not_lost() -> None:
    async with asyncio.timeout(BOUND_SECS), serving(Bounds(resume_secs=0)) as served:
        headers = await served.open("2025-06-18")
        call = script("say 1\nwait")
        async with served.http.stream("POST", "/mcp", json=call, headers=headers) as first:
            seen = events(first)
            await anext(seen)
            resume = {**headers, "Last-Event-ID": "1-1"}
            async with served.http.stream("GET", "/mcp", headers=resume) as second:
                with pytest.raises(httpx.RemoteProtocolError):
                    await anext(seen)
                await served.http.post("/mcp", json=LIST, headers=headers)
                served.scripts.go.set()
                assert (await anext(events(second))).message["id"] == 1
    assert not served.scripts.cancelled.is_set()


async def test_what_was_sent_is_not_kept_beyond_the_bound() -> None:
    async with asyncio.timeout(BOUND_SECS), serving(Bounds(kept_bytes=5000)) as served:
        headers = await served.open("2025-06-18")
        for _ in range(3):
            async with served.http.stream(
                "POST", "/mcp", json=script("say 1"), headers=headers
            ) as response:
                assert len([event async for event in events(response)]) == 2
        found = [
            (await served.http.get("/mcp", headers={**headers, "Last-Event-ID": f"{n}-1"}))
            for n in (1, 3)
        ]
        assert [reply.status_code for reply in found] == [400, 200]


@pytest.mark.requirement("sessions.memory")
async def test_what_was_sent_is_not_kept_beyond_the_session(served: Served) -> None:
    headers = await served.open("2025-06-18")
    async with served.http.stream(
        "POST", "/mcp", json=script("say 1"), headers=headers
    ) as response:
        assert len([event async for event in events(response)]) == 2
    session = served.sessions.find(headers["Mcp-Session-Id"], "streamable", HERE)
    kept = weakref.ref(session) if session else None
    assert kept
    del session
    assert (await served.http.delete("/mcp", headers=headers)).status_code == 204
    for _ in range(100):  # the request that ended it may be on its way out
        gc.collect()
        if kept() is None:
            return
        await asyncio.sleep(0)
    raise AssertionError("it is kept")


@pytest.mark.requirement("mcp.cancel")
@pytest.mark.parametrize("path", ["/mcp", "/message"])
async def test_a_client_that_leaves_cancels_what_it_waits_for(served: Served, path: str) -> None:
    headers = await served.open() if path == "/mcp" else {}
    async with asyncio.TaskGroup() as tasks:
        call = served.http.post(path, json=script("wait"), headers=headers)
        calling = tasks.create_task(call)
        await served.scripts.waiting.wait()
        calling.cancel()
    await served.scripts.cancelled.wait()


@pytest.mark.requirement("mcp.cancel")
async def test_a_cancelled_request_gets_no_reply(served: Served) -> None:
    headers = await served.open()
    async with asyncio.TaskGroup() as tasks:
        call = served.http.post("/mcp", json=script("wait", id_="a"), headers=headers)
        calling = tasks.create_task(call)
        await served.scripts.waiting.wait()
        ids: list[Json] = ["b", None, {}, "a"]
        for id_ in ids:
            note: JsonObject = {"jsonrpc": "2.0", "method": "notifications/cancelled"}
            note["params"] = {"requestId": id_}
            taken = await served.http.post("/mcp", json=note, headers=headers)
            assert taken.status_code == 202
    await served.scripts.cancelled.wait()
    assert (calling.result().status_code, calling.result().content) == (202, b"")


@pytest.mark.requirement("mcp.ask")
async def test_a_server_asks_the_client(served: Served) -> None:
    headers = await served.open(roots={})
    call = script("ask roots/list")
    async with served.http.stream("POST", "/mcp", json=call, headers=headers) as response:
        stream = events(response)
        await anext(stream)
        asked = (await anext(stream)).message
        assert asked["method"] == "roots/list"
        answer: JsonObject = {"jsonrpc": "2.0", "id": asked["id"], "result": {"roots": []}}
        for _ in range(2):  # the second comes too late for anybody
            taken = await served.http.post("/mcp", json=answer, headers=headers)
            assert taken.status_code == 202
        reply = (await anext(stream)).message
    assert '"result": {"roots": []}' in str(reply).replace("'", '"')


@pytest.mark.requirement("mcp.ask")
@pytest.mark.parametrize(
    ("method", "answer", "words"),
    [
        ("sampling/createMessage", {}, "has not declared the capability 'sampling'"),
        ("tools/list", {}, "cannot be asked for tools/list"),
        ("roots/list", {"error": {"code": -1, "message": "not today"}}, "not today"),
        ("roots/list", {"result": [1]}, "no object"),
    ],
)
async def test_a_client_that_cannot_or_will_not_answer(
    served: Served, method: str, answer: JsonObject, words: str
) -> None:
    headers = await served.open("2025-06-18", roots={})
    call = script(f"ask {method}")
    async with served.http.stream("POST", "/mcp", json=call, headers=headers) as response:
        if not answer:
            assert words in (await response.aread()).decode()
            return
        stream = events(response)
        asked = (await anext(stream)).message
        reply: JsonObject = {"jsonrpc": "2.0", "id": asked["id"], **answer}
        await served.http.post("/mcp", json=reply, headers=headers)
        assert words in (await anext(stream)).data


async def test_a_batch_may_answer_and_ask(served: Served) -> None:
    headers = await served.open("2025-03-26", roots={})
    call = script("ask roots/list")
    async with served.http.stream("POST", "/mcp", json=call, headers=headers) as response:
        stream = events(response)
        asked = (await anext(stream)).message
        answer: JsonObject = {"jsonrpc": "2.0", "id": asked["id"], "result": {}}
        batch = [answer, request("ping", id_=9), 5]
        replies = (await served.http.post("/mcp", json=batch, headers=headers)).json()
        assert [reply["id"] for reply in replies] == [9, None]
        assert (await anext(stream)).message["id"] == 1


@pytest.mark.requirement("mcp.list_changed")
async def test_a_changed_tool_list_is_told_once_on_the_clients_stream(served: Served) -> None:
    headers = await served.open()
    served.world.publish("one")
    served.world.publish("one")
    served.world.publish("one", "two")
    seen = await _take(served, headers, 3)
    assert [event.message for event in seen[1:]] == [
        {"jsonrpc": "2.0", "method": "notifications/tools/list_changed", "params": {}}
    ] * 2
    assert (await _take(served, {**headers, "Last-Event-ID": seen[1].id}, 2))[1] == seen[2]


async def test_a_second_stream_takes_the_place_of_the_first(served: Served) -> None:
    headers = await served.open("2025-06-18")
    async with served.http.stream("GET", "/mcp", headers=headers) as first:
        async with served.http.stream("GET", "/mcp", headers=headers) as second:
            served.world.publish("one")
            assert (await anext(events(second))).message["method"]
        with pytest.raises(httpx.RemoteProtocolError):  # cut off, and seen to be
            await first.aread()


@pytest.mark.requirement("mcp.slow_reader")
async def test_a_slow_reader_is_let_go_and_the_others_are_served(served: Served) -> None:
    slow, quick = await served.open("2025-06-18"), await served.open("2025-06-18")
    noise = "\n".join(["wait", *["say 1"] * 20, "say 60000"])  # the last at one go: nobody can read
    async with served.http.stream(
        "POST", "/mcp", json=script("say 1\nwait"), headers=quick
    ) as response:
        stream = events(response)
        await anext(stream)
        async with asyncio.TaskGroup() as tasks:
            post = served.http.build_request("POST", "/mcp", json=script(noise), headers=slow)
            stuck = tasks.create_task(served.http.send(post, stream=True))
            served.scripts.go.set()
            assert (await anext(stream)).message["id"] == 1
        with pytest.raises(httpx.RemoteProtocolError):
            await stuck.result().aread()
    async with served.scripts.ending:
        await served.scripts.ending.wait_for(lambda: noise in served.scripts.ended)
    rest = await _take(served, {**slow, "Last-Event-ID": "1-1"}, None)
    assert rest[-1].message["id"] == 1


async def test_too_many_requests_at_once(served: Served) -> None:
    headers = await served.open()
    async with asyncio.TaskGroup() as tasks:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=served.http.base_url, limits=limits) as http:
            calls = [
                tasks.create_task(
                    http.post("/mcp", json=script("wait", id_=n), headers=headers, timeout=20)
                )
                for n in range(MAX_RUNNING + 1)
            ]
            done, _ = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
            (refused,) = done
            assert "send this one when some have ended" in refused.result().text
            assert refused.result().headers["Retry-After"] == "1"
            served.scripts.go.set()
            await asyncio.wait(calls)
    assert sum("success" in call.result().text for call in calls) == MAX_RUNNING


@pytest.mark.requirement("http.retry_after")
async def test_all_sessions_in_use() -> None:
    async with asyncio.timeout(BOUND_SECS), serving(Bounds(sessions=2)) as served:
        headers = await served.open()
        async with served.http.stream("GET", "/mcp", headers=headers):
            params: JsonObject = {"protocolVersion": "2025-11-25"}
            full = await served.http.post("/mcp", json=request("initialize", params))
            assert full.status_code == 503
            assert full.headers["Retry-After"] == "60"
            sse = await served.http.get("/sse")
            assert (sse.status_code, sse.headers["Retry-After"]) == (503, "60")
        session = served.sessions.find(
            headers["Mcp-Session-Id"], "streamable", RequestSource(Caller())
        )
        while session and not session.idle:  # that nobody listens any more is yet to be noticed
            await served.http.get("/health")
        await served.open()


async def test_while_stopping_streams_last_until_they_are_ended(served: Served) -> None:
    headers = await served.open()
    async with served.http.stream("GET", "/mcp", headers=headers) as response:
        assert await served.gate.drain()
        stopping = await served.http.post("/mcp", json=LIST, headers=headers)
        assert (stopping.status_code, stopping.headers["Retry-After"]) == (503, "10")
        served.sessions.close()
        await response.aread()


async def _take(served: Served, headers: dict[str, str], count: int | None) -> list[Seen]:
    """The next events of a stream that is opened with GET; None: all, to its end."""
    seen: list[Seen] = []
    both = {"Accept": BOTH, **headers}
    async with served.http.stream("GET", "/mcp", headers=both) as response:
        assert response.status_code == 200
        async for event in events(response):
            seen.append(event)
            if len(seen) == count:
                break
    return seen


@pytest.mark.requirement("sse.heartbeat")
@pytest.mark.parametrize("era", ["session", "stateless", "sse"])
async def test_a_long_call_keeps_its_connection_alive(era: str) -> None:
    """No progress was asked for: the stream itself has signs of life."""
    async with asyncio.timeout(BOUND_SECS), serving(Bounds(heartbeat_secs=0.02)) as served:
        body, headers, path = script("wait"), {"Accept": BOTH}, "/mcp"
        if era == "session":
            headers = await served.open()
        elif era == "stateless":
            meta: JsonObject = {mcp.META_VERSION: mcp.STATELESS_VERSION}
            meta[mcp.META_CLIENT_CAPABILITIES] = {}
            body["params"] = {"name": "execute", "arguments": {"code": "wait"}, "_meta": meta}
            headers |= {mcp.VERSION_HEADER: mcp.STATELESS_VERSION, mcp.METHOD_HEADER: "tools/call"}
            headers[mcp.NAME_HEADER] = "execute"
        method, path = ("GET", "/sse") if era == "sse" else ("POST", "/mcp")
        sent = None if era == "sse" else body
        async with served.http.stream(method, path, json=sent, headers=headers) as stream:
            signs = 0
            async for line in stream.aiter_lines():
                if line.startswith("data: /"):
                    await served.http.post(line.removeprefix("data: "), json=body)
                signs += line.startswith(": heartbeat")
                if signs == 3:
                    served.scripts.go.set()
                if signs >= 3 and line.startswith("data: {"):
                    assert '"result"' in line
                    break
