"""Servers that are stopped for being old or unused, and the memory of what they offer."""

import asyncio
import stat
from pathlib import Path

import pytest

from mcproxy.types import JsonObject
from mcproxy.upstream.supervision.server_limits import Condition, Kill, ProcessLimits, measure
from mcproxy.upstream.supervision.tool_cache import MAX_BYTES, Offer, OfferFile
from tests.upstream.fleets import WAIT_SECS, Watched, running_document, server

LIMITS = ProcessLimits(memory_mb=100, age_secs=1000, idle_secs=50)
ADD = {"a": 1, "b": 1}


def document(**ttl: float) -> JsonObject:
    """One server under a time to live."""
    return {
        "servers": {"echo": server("echo.py", sandbox={"timeout_secs": 60})},
        "manifests": {"per_server_ttl": {"enabled": True, **ttl}},
    }


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (Condition(99, 10, 10, 0), None),
        (Condition(10, 1000, 10, 0), "renew"),
        (Condition(10, 1000, 10, 1), None),
        (Condition(10, 100, 50, 0), "rest"),
        (Condition(10, 100, 50, 1), None),
        (Condition(10, 1000, 50, 0), "rest"),
    ],
)
def test_what_is_done_about_a_process(condition: Condition, expected: str | None) -> None:
    assert measure(LIMITS, condition) == expected
    assert measure(ProcessLimits(), condition) is None


def test_too_much_memory_ends_a_process_at_once() -> None:
    found = measure(LIMITS, Condition(101, 1, 0, 5))
    assert isinstance(found, Kill)
    assert "101 MiB" in found.reason


@pytest.mark.requirement("ttl.idle")
async def test_an_unused_server_stops_until_its_next_call(tmp_path: Path) -> None:
    async with running_document(document(max_idle_secs=0.3), tmp_path) as watched:
        tools = watched.fleet.health()["echo"].tools
        idle = await watched.until(
            "echo", lambda health: health.state == "idle" and health.pid is None
        )
        assert (idle.tools, idle.restarts, idle.last_error) == (tools, 0, None)
        assert await watched.fleet.check() == {}
        async with asyncio.timeout(WAIT_SECS), asyncio.TaskGroup() as tasks:
            for _ in range(5):
                tasks.create_task(watched.call("echo", "add", **ADD))
        assert watched.fleet.health()["echo"].restarts == 0


@pytest.mark.requirement("ttl.age")
async def test_an_old_server_starts_anew_between_calls(tmp_path: Path) -> None:
    async with running_document(document(default_secs=0.3), tmp_path) as watched:
        first = watched.fleet.health()["echo"].pid
        done = await watched.call("echo", "sleep", secs=2.5)  # two patrols long
        assert done["structuredContent"] == {"slept": 2.5}
        await watched.until(
            "echo", lambda health: health.state == "ready" and health.pid not in (None, first)
        )
        assert watched.fleet.health()["echo"].restarts == 0
        assert await watched.call("echo", "add", **ADD)


@pytest.mark.requirement("upstream.remembered")
async def test_tools_are_known_again_before_the_server_has_started(tmp_path: Path) -> None:
    slow: JsonObject = {"servers": {"echo": server("echo.py", "--delay", "1")}}
    async with running_document(slow, tmp_path) as first:
        offered = first.fleet.views()[0]
    assert _modes(tmp_path) == [0o600]
    again = Watched(slow, tmp_path)
    view = again.fleet.views()[0]
    assert view.state == "starting"
    assert (view.tools, view.description) == (offered.tools, offered.description)
    async with asyncio.timeout(WAIT_SECS):
        await again.fleet.known()  # nobody runs it: only what is remembered can be known
    changed: JsonObject = {"servers": {"echo": server("echo.py", "--tools", "1")}}
    assert Watched(changed, tmp_path).fleet.views()[0].tools == ()


def test_one_memory_a_server_and_nothing_odd_is_read(tmp_path: Path) -> None:
    offer = Offer(tools=({"name": "a"},), capabilities={"tools": {}}, description="d")
    OfferFile(tmp_path, "x", "0" * 64).write(offer)
    OfferFile(tmp_path, "x-y", "1" * 64).write(offer)
    other = OfferFile(tmp_path, "x", "2" * 64)
    other.write(offer)
    assert sorted(path.name[:4] for path in tmp_path.iterdir()) == ["x-22", "x-y-"]
    assert OfferFile(tmp_path, "x", "2" * 64).read() == offer
    (tmp_path / f"x-{'2' * 16}.json").write_text('{"tools": 3}')
    assert other.read() is None
    (tmp_path / f"x-{'2' * 16}.json").write_bytes(b" " * (MAX_BYTES + 1))
    assert other.read() is None


def test_a_memory_that_cannot_be_kept_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    OfferFile(tmp_path / "file", "x", "0" * 64).write(Offer())
    assert OfferFile(tmp_path / "file", "x", "0" * 64).read() is None


def _modes(state: Path) -> list[int]:
    files = state.glob("mcproxy/tools/echo-*.json")
    return [stat.S_IMODE(file.stat().st_mode) for file in files]
