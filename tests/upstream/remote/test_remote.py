"""Remote servers that do odd things: what is told, and that no call is ever run twice."""

import asyncio
import socket
import subprocess
import sys

import pytest

from mcproxy.call_errors import CallTimeout, ServerDown, UpstreamError
from mcproxy.exchange import NOBODY
from mcproxy.types import Json, JsonObject
from mcproxy.upstream.remote import sse
from mcproxy.upstream.supervision.calls import THRESHOLD
from tests.servers.remote_odd import Odd, serving
from tests.upstream.fleets import WAIT_SECS, Watched, running


def remote(server: Odd, **more: Json) -> JsonObject:
    """The definition of a remote server."""
    return {"url": server.url, **more}


def words(result: JsonObject) -> str:
    """The text of a tool's result."""
    return str(result["content"])


@pytest.mark.requirement("remote.replies")
@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("keeps_session", [False, True])
async def test_replies_may_be_bodies_or_streams(streams: bool, keeps_session: bool) -> None:
    async with serving(Odd(streams=streams, keeps_session=keeps_session)) as odd:
        async with running(odd=remote(odd)) as watched:
            assert "'hello'" in words(await watched.call("odd", "echo", a="hello")).replace(
                '"', "'"
            )
            called = odd.seen("tools/call")[0].headers
            assert called["mcp-protocol-version"] == "2025-11-25"
            assert ("mcp-session-id" in called) is keeps_session
        if keeps_session:
            assert odd.sessions == set()  # ended with DELETE


@pytest.mark.requirement("remote.session_lost")
async def test_a_forgotten_session_is_begun_anew() -> None:
    async with serving(Odd()) as odd, running(odd=remote(odd)) as watched:
        await odd.until_seen("GET")
        odd.forget()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(5):
                tasks.create_task(watched.call("odd", "echo"))
        assert odd.ran["echo"] == 5
        assert len(odd.seen("initialize")) == 2
        assert watched.fleet.health()["odd"].restarts == 0


@pytest.mark.requirement("remote.session_lost")
async def test_a_session_that_is_unknown_in_any_words_is_begun_anew() -> None:
    async with serving(Odd(lost_code=-32001)) as odd, running(odd=remote(odd)) as watched:
        await odd.until_seen("GET")
        odd.forget()
        assert words(await watched.call("odd", "echo"))
        assert odd.ran["echo"] == 1


@pytest.mark.requirement("remote.retry_after")
async def test_a_busy_server_says_when_it_is_to_be_asked_again() -> None:
    async with serving(Odd(retry_after="7")) as odd, running(odd=remote(odd)) as watched:
        odd.refusals["echo"] = 429
        for _ in range(THRESHOLD + 1):  # it lives: it is not closed off
            with pytest.raises(ServerDown, match="is busy: it answered 429") as caught:
                await watched.call("odd", "echo")
        assert (caught.value.retryable, caught.value.retry_after) == (True, 7)
        del odd.refusals["echo"]
        assert words(await watched.call("odd", "echo"))


@pytest.mark.requirement("remote.once")
async def test_a_call_whose_answer_is_lost_fails_and_is_not_sent_again() -> None:
    async with serving(Odd()) as odd, running(odd=remote(odd)) as watched:
        with pytest.raises(ServerDown, match="not known") as caught:
            await watched.call("odd", "drop")
        assert caught.value.retryable
        assert odd.ran["drop"] == 1
        assert words(await watched.call("odd", "echo"))
        assert watched.fleet.health()["odd"].restarts == 0


@pytest.mark.requirement("remote.resume")
async def test_a_broken_stream_is_resumed_where_the_server_can() -> None:
    async with serving(Odd(resumable=True)) as odd, running(odd=remote(odd)) as watched:
        assert "late" in words(await watched.call("odd", "drop"))
        assert odd.ran["drop"] == 1
        resumed = [one for one in odd.seen("GET") if "last-event-id" in one.headers]
        assert len(resumed) == 1


async def test_a_stream_that_cannot_be_resumed_after_all() -> None:
    async with serving(Odd(resumable=True)) as odd, running(odd=remote(odd)) as watched:
        await odd.until_seen("GET")
        odd.refusals["GET"] = 405
        with pytest.raises(ServerDown, match="not known"):
            await watched.call("odd", "drop")
        assert odd.ran["drop"] == 1


@pytest.mark.requirement("remote.list_changed")
async def test_a_changed_list_is_heard_of_on_the_get_stream() -> None:
    async with serving(Odd()) as odd, running(odd=remote(odd)) as watched:
        await odd.until_seen("GET")
        before = watched.fleet.health()["odd"].tools
        await watched.call("odd", "grow")
        await watched.until("odd", lambda health: health.tools == before + 1)


async def test_a_server_without_a_get_stream_is_used_all_the_same() -> None:
    async with serving(Odd(refusals={"GET": 405})) as odd, running(odd=remote(odd)) as watched:
        await odd.until_seen("GET")
        assert words(await watched.call("odd", "echo"))
        assert len(odd.seen("GET")) == 1


async def test_a_ping_during_a_call_is_answered() -> None:
    async with serving(Odd()) as odd, running(odd=remote(odd)) as watched:
        assert "pong" in words(await watched.call("odd", "ping"))


@pytest.mark.requirement("remote.cancel")
async def test_a_call_that_takes_too_long_is_cancelled_there_too() -> None:
    impatient: JsonObject = {"tool_timeouts": {"hang": 0.2}}
    async with serving(Odd()) as odd, running(odd=remote(odd, **impatient)) as watched:
        with pytest.raises(CallTimeout):
            await watched.call("odd", "hang")
        await odd.until_seen("notifications/cancelled")
        assert words(await watched.call("odd", "echo"))


@pytest.mark.requirement("remote.refusals")
@pytest.mark.parametrize(
    ("status", "error", "said"),
    [
        (500, UpstreamError, "500 Internal Server Error: refused"),
        (403, UpstreamError, "403 Forbidden"),
        (503, ServerDown, "503 Service Unavailable"),
        (429, ServerDown, "429 Too Many Requests"),
        (301, ServerDown, "is the path of its `url` right"),
    ],
)
async def test_a_refused_call_says_why(status: int, error: type[Exception], said: str) -> None:
    async with serving(Odd()) as odd, running(odd=remote(odd)) as watched:
        odd.refusals["echo"] = status
        if status == 301:
            odd.location, odd.refusals["redirect"] = "/elsewhere", 301
        with pytest.raises(error, match=said):
            await watched.call("odd", "echo")
        assert odd.ran["echo"] == 0


@pytest.mark.requirement("remote.web_page")
async def test_a_web_page_is_told_as_one() -> None:
    async with serving(Odd()) as odd, running(odd=remote(odd)) as watched:
        with pytest.raises(ServerDown, match=r"web page \(200 OK, 'Hello'\).*not an MCP endpoint"):
            await watched.call("odd", "page")


@pytest.mark.parametrize("streams", [False, True])
async def test_a_reply_over_16_mib_fails_its_call_only(streams: bool) -> None:
    async with serving(Odd(streams=streams)) as odd, running(odd=remote(odd)) as watched:
        with pytest.raises(UpstreamError, match="longer than 16777216 bytes"):
            await watched.call("odd", "big")
        assert words(await watched.call("odd", "echo"))
        assert watched.fleet.health()["odd"].restarts == 0


async def test_what_speaks_neither_transport_is_told_as_such() -> None:
    deaf = Odd(refusals={"POST": 405, "GET": 404})
    async with serving(deaf) as odd, running(odd=remote(odd)) as watched:
        health = await watched.until("odd", lambda health: health.state == "restarting")
    said = str(health.last_error)
    assert "neither Streamable HTTP (it answered 405" in said
    assert "nor HTTP+SSE (it answered 404" in said


async def test_messages_are_not_posted_to_another_host() -> None:
    async with (
        serving(Odd()) as other,
        serving(Odd(keeps_session=False, endpoint=other.url)) as odd,
    ):
        async with running(odd=remote(odd, transport="sse")) as watched:
            health = await watched.until("odd", lambda health: health.state == "restarting")
            assert "points to" in str(health.last_error)
        assert other.received == []


async def test_an_event_stream_without_an_endpoint_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sse, "ENDPOINT_SECS", 0.1)
    mute = Odd(keeps_session=False)
    async with serving(mute) as odd, running(odd=remote(odd, transport="sse")) as watched:
        health = await watched.until("odd", lambda health: health.state == "restarting")
        assert "did not begin with an `endpoint` event" in str(health.last_error)


@pytest.mark.requirement("remote.unreachable")
@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1:{port}/mcp", "refused"),
        ("https://127.0.0.1:{odd}/mcp", "TLS failed"),
        ("http://nowhere.invalid/mcp", "DNS"),
    ],
)
async def test_a_server_that_cannot_be_reached_is_tried_again(url: str, said: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    async with serving(Odd()) as odd:
        place = url.format(port=port, odd=odd.url.split(":")[2].split("/")[0])
        async with running(far={"url": place}) as watched:
            health = await watched.until("far", lambda health: health.state == "restarting")
            assert said in str(health.last_error)
            with pytest.raises(ServerDown, match=said):
                await watched.call("far", "echo")


@pytest.mark.requirement("remote.back")
async def test_a_server_that_comes_back_is_used_again() -> None:
    odd = Odd()
    async with serving(odd):
        port = int(odd.url.split(":")[2].split("/")[0])
        definition = remote(odd)
    async with running(odd=definition) as watched:
        await watched.until("odd", lambda health: health.state == "restarting")
        async with serving(odd, port):
            await watched.until("odd", lambda health: health.state == "ready")
            assert words(await watched.call("odd", "echo"))
        health = await watched.until("odd", lambda health: health.last_error is not None)
        assert health.state == "restarting"
        assert "refused" in str(health.last_error)


@pytest.mark.requirement("remote.headers")
async def test_headers_are_sent_and_never_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    async with serving(Odd(token="sesame-open")) as odd:
        good = remote(odd, headers={"Authorization": "Bearer sesame-open"})
        bad = remote(odd, headers={"Authorization": "Bearer sesame-shut"})
        async with running(good=good, bad=bad) as watched:
            assert words(await watched.call("good", "echo"))
            health = await watched.until("bad", lambda health: health.state == "restarting")
            assert "401 Unauthorized" in str(health.last_error)
            assert "sesame" not in f"{watched.fleet.health()}{caplog.text}"


@pytest.mark.requirement("remote.redirects")
async def test_headers_do_not_follow_a_redirect_to_another_host() -> None:
    async with serving(Odd()) as other, serving(Odd(location=other.url)) as odd:
        async with running(odd=remote(odd, headers={"X-Key": "secret"})) as watched:
            health = await watched.until("odd", lambda health: health.state == "restarting")
            assert f"points to {other.url.removesuffix('/mcp')}" in str(health.last_error)
        assert other.received == []


async def test_a_redirect_within_the_server_is_followed() -> None:
    async with serving(Odd(location="/moved")) as odd, running(odd=remote(odd)) as watched:
        assert words(await watched.call("odd", "echo"))
        assert {one.path for one in odd.seen("tools/call")} == {"/moved"}


@pytest.mark.requirement("remote.proxies")
async def test_a_proxy_of_the_environment_is_for_public_hosts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with serving(Odd()) as proxy, serving(Odd()) as near:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.removesuffix("/mcp"))
        far: JsonObject = {"url": "http://mcp.mcproxy.org/mcp"}
        async with running(far=far, near=remote(near)) as watched:
            assert words(await watched.call("far", "echo"))
            assert words(await watched.call("near", "echo"))
        assert {one.path for one in proxy.received} == {"http://mcp.mcproxy.org/mcp"}


@pytest.mark.requirement("remote.session_lost")
async def test_the_event_stream_notices_a_forgotten_session() -> None:
    async with serving(Odd()) as odd, running(odd=remote(odd)) as watched:
        await odd.until_seen("GET")
        odd.forget()
        await odd.until_seen("initialize", 2)
        odd.tools.append("fresh")
        await watched.until("odd", lambda health: health.tools == len(odd.tools))
        assert watched.fleet.health()["odd"].restarts == 0


async def test_a_new_session_is_told_what_is_watched() -> None:
    async with serving(Odd()) as odd, running(odd=remote(odd)) as watched:
        await watched.fleet.upstream.watch(NOBODY, "odd", "note://x", None)
        odd.forget()
        assert words(await watched.call("odd", "echo"))
        again = await odd.until_seen("resources/subscribe", 2)
        assert again.message["params"] == {"uri": "note://x"}


async def test_a_server_whose_get_is_not_found_keeps_its_session() -> None:
    async with serving(Odd(refusals={"GET": 404})) as odd, running(odd=remote(odd)) as watched:
        await odd.until_seen("GET")
        assert words(await watched.call("odd", "echo"))
        assert len(odd.seen("initialize")) == 1


@pytest.mark.parametrize("odd_id", ["sitzung-ä", "a b", ""])
async def test_a_session_id_that_is_none_does_no_harm(odd_id: str) -> None:
    server = Odd(keeps_session=False, session_id=odd_id)
    async with serving(server) as odd, running(odd=remote(odd)) as watched:
        assert words(await watched.call("odd", "echo"))
        assert "mcp-session-id" not in odd.seen("tools/call")[0].headers


async def test_calls_overlap() -> None:
    async with serving(Odd()) as odd, running(odd=remote(odd)) as watched:
        await _fifty_beside_a_hanging_one(watched)
        assert odd.ran == {"hang": 1, "echo": 50}


async def _fifty_beside_a_hanging_one(watched: Watched) -> None:
    async with asyncio.timeout(WAIT_SECS), asyncio.TaskGroup() as tasks:
        hanging = tasks.create_task(_hang(watched))
        quick = [tasks.create_task(watched.call("odd", "echo")) for _ in range(50)]
        await asyncio.wait(quick)
        hanging.cancel()


async def _hang(watched: Watched) -> None:
    await watched.call("odd", "hang")


@pytest.mark.requirement("remote.lazy")
def test_without_a_remote_server_no_http_client_is_loaded() -> None:
    program = "import sys, mcproxy.upstream.fleet; sys.exit('httpx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
