"""Clients that send half of something, read nothing, or ask for everything at once: the gateway
goes on answering the others, and its memory stays bounded."""

import json
import resource
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from mcproxy.types import Json, JsonObject
from tests.e2e.gateways import Running, echo, gateway

CONFIG: JsonObject = {"servers": {"echo": echo()}, "namespaces": {"public": {"mode": "both"}}}
CLOSED_SECS = 40  # what says nothing is closed within 10 to 30 s, see ``ConnectionLimits``
MOST_MIB = 420
HEAD = b"POST /message HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(autouse=True)
def _descriptors() -> Iterator[None]:
    """This test is many clients at once, and the gateway has the same limit: it is started anew."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 8192 if hard == resource.RLIM_INFINITY else min(8192, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def clients(
    served: Running, number: int, first_words: bytes = b""
) -> Iterator[list[socket.socket]]:
    """Connections that have sent something, and go on to say and read nothing."""
    url = served.http.base_url
    with ExitStack() as opened:
        sockets = []
        for _ in range(number):
            one = opened.enter_context(socket.create_connection((url.host, url.port or 80)))
            one.settimeout(CLOSED_SECS)
            with suppress(OSError):  # it was closed to make room for a later one
                one.sendall(first_words)
            sockets.append(one)
        yield sockets


def closed(one: socket.socket) -> bool:
    """Whether the gateway ends a connection; waits for it, bounded."""
    try:
        while one.recv(1 << 16):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def memory_mib(served: Running) -> float:
    """What the gateway itself holds: the largest process of its family."""
    family = served.guardian.children(recursive=True)
    return float(max(one.memory_info().rss for one in family) / (1 << 20))


def works(served: Running) -> None:
    """Somebody else is served."""
    assert served.http.get("/health").status_code == 200
    answer = served.call("tools/call", {"name": "echo__add", "arguments": {"a": 1, "b": 2}})
    assert isinstance(answer, dict)
    assert not answer.get("isError"), answer


def call(tool: str, **arguments: Json) -> JsonObject:
    params: JsonObject = {"name": f"echo__{tool}", "arguments": {**arguments}}
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}


@pytest.mark.requirement("http.hostile_heads")
def test_heads_that_do_not_end_keep_nobody_out(tmp_path: Path) -> None:
    with gateway(tmp_path, CONFIG, anew=True) as served:
        with clients(served, 2600, b"POST /message HTTP/1.1\r\nHost: loc") as held:
            works(served)
            assert closed(held[0])
            assert closed(held[-1])
            works(served)
        with clients(served, 1, HEAD + b"X-Endless: " + b"x" * (1 << 20)) as held:
            assert closed(held[0])
        assert served.logged.says("connections of clients closed")


@pytest.mark.requirement("http.idle_connections")
def test_connections_beyond_the_descriptors_keep_nobody_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))  # as a login shell gives
    with gateway(tmp_path, CONFIG, anew=True) as served:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        with clients(served, 1100):
            works(served)
            pid = served.call("tools/call", {"name": "echo__crash", "arguments": {}})
            assert pid
            works(served)


@pytest.mark.requirement("http.hostile_bodies")
def test_bodies_that_do_not_end_take_a_bounded_share(tmp_path: Path) -> None:
    body = HEAD + b"Content-Length: 4194304\r\n\r\n" + b" " * 4_194_000
    with gateway(tmp_path, CONFIG, anew=True) as served, clients(served, 120, body) as held:
        works(served)
        assert memory_mib(served) < MOST_MIB
        assert any(b"503" in one.recv(64) for one in held[-1:])


@pytest.mark.requirement("sessions.share")
def test_streams_that_one_client_opens_leave_room_for_others(tmp_path: Path) -> None:
    opening = b"GET /sse HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"
    with gateway(tmp_path, CONFIG, anew=True) as served, clients(served, 1500, opening):
        works(served)
        with served.http.stream("GET", "/sse") as stream:
            assert stream.status_code == 200
            assert "endpoint" in next(stream.iter_lines())


@pytest.mark.requirement("http.batch_bounded")
def test_a_large_batch_is_answered_within_bounds(tmp_path: Path) -> None:
    batch: list[Json] = [{**call("big", bytes=100_000), "id": number} for number in range(1000)]
    with gateway(tmp_path, CONFIG, anew=True) as served, ThreadPoolExecutor() as others:
        answering = others.submit(served.post, batch)
        between = 0
        while not answering.done():
            works(served)
            between += 1
        assert between > 3  # the others had their turns
        replies = answering.result().json()
        assert [reply["id"] for reply in replies] == list(range(1000))
        assert "result" in replies[0]
        assert "send it again" in replies[-1]["error"]["message"]
        assert memory_mib(served) < MOST_MIB
        works(served)


@pytest.mark.requirement("http.slow_readers")
def test_clients_that_read_nothing_lose_their_streams(tmp_path: Path) -> None:
    with gateway(tmp_path, CONFIG, anew=True) as served:
        with ExitStack() as opened:
            for _ in range(9):  # of 48 MB each, twice what all may have
                stream = opened.enter_context(clients(served, 1, _GET_SSE))[0]
                endpoint = _endpoint(stream)
                for _ in range(12):
                    served.post(call("big", bytes=4_000_000), endpoint)
            works(served)
            assert memory_mib(served) < MOST_MIB
        body = json.dumps(call("big", bytes=8_000_000)).encode()
        asked = HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body
        with clients(served, 48, asked) as held:
            for _ in range(5):
                works(served)
            assert memory_mib(served) < MOST_MIB
            assert closed(held[0]) or closed(held[1])


@pytest.mark.requirement("http.stop_unread")
def test_clients_that_read_nothing_do_not_hold_up_the_end(tmp_path: Path) -> None:
    with gateway(tmp_path, CONFIG, anew=True) as served, ExitStack() as opened:
        for _ in range(5):
            stream = opened.enter_context(clients(served, 1, _GET_SSE))[0]
            served.post(call("big", bytes=4_000_000), _endpoint(stream))
        body = json.dumps(call("big", bytes=4_000_000)).encode()
        asked = HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body
        opened.enter_context(clients(served, 5, asked))
        works(served)
        served.process.terminate()
        assert served.process.wait(10) == 0
    assert "Traceback" not in served.logged.text


_GET_SSE = b"GET /sse HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"


def _endpoint(stream: socket.socket) -> str:
    """Where the session of a stream takes its messages."""
    text = b""
    while b"session_id=" not in text or not text.endswith(b"\n\n"):
        text += stream.recv(1)
    return text.decode().rsplit("data: ", 1)[1].strip()
