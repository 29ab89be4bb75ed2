"""Which changes of a definition make another server of it, and whose processes are whose."""

import pytest
from msgspec.structs import replace

from mcproxy.config.load import load_document
from mcproxy.types import Json, JsonObject
from mcproxy.upstream.child.tree import Process, family, marks
from mcproxy.upstream.definition import definitions

HOME: JsonObject = {"command": "run", "args": ["x"], "env": {"A": "1"}}
REMOTE: JsonObject = {"url": "https://example.org/mcp"}


def key(definition: JsonObject, **more: Json) -> str:
    """The key of a definition within a configuration."""
    loaded = load_document({"servers": {"s": definition}, **more})
    return definitions(replace(loaded, environment={"PATH": "/bin"}))["s"].key


@pytest.mark.parametrize(
    ("before", "change", "another"),
    [
        (HOME, {}, False),
        (HOME, {"description": "d", "timeout_secs": 3, "namespace": None}, False),
        (HOME, {"sandbox": {"memory_mb": 64}, "tool_timeouts": {"t": 1}}, False),
        (HOME, {"refresh_hooks": {"pre_start": ["pull_image", {"command": ["c"]}]}}, False),
        (HOME, {"env": {"A": "2"}}, True),
        (HOME, {"args": ["y"]}, True),
        (HOME, {"args": ["x", ""]}, True),
        (HOME, {"cwd": "/"}, True),
        (HOME, {"command": "walk"}, True),
        (REMOTE, {"timeout_secs": 3}, False),
        (REMOTE, {"headers": {"A": "b"}}, True),
        (REMOTE, {"transport": "sse"}, True),
    ],
)
def test_what_makes_another_server(before: JsonObject, change: JsonObject, another: bool) -> None:
    assert (key(before) != key({**before, **change})) is another


def test_a_namespace_may_change_the_environment() -> None:
    sandbox: Json = {"env_isolation": False}
    loaded = load_document({"servers": {"s": HOME}, "sandbox": sandbox})
    open_key = definitions(replace(loaded, environment={"PATH": "/bin", "X": "1"}))["s"].key
    assert open_key != key(HOME)


def process(pid: int, parent: int, session: int, started: int = 1) -> Process:
    """One process of a made-up machine."""
    return Process(pid, parent, session, started, 0)


TABLE = {
    one.pid: one
    for one in (
        process(1, 0, 1),
        process(10, 1, 10),  # the server
        process(11, 10, 10),  # its child
        process(12, 11, 12),  # a browser in a session of its own
        process(13, 12, 12),
        process(14, 1, 10),  # an orphan that stayed in the session
        process(20, 1, 20),  # another server
        process(21, 20, 20),
    )
}


def pids(leader: int, table: dict[int, Process], seen: frozenset[tuple[int, int]]) -> set[int]:
    """The family's process ids."""
    return {member.pid for member in family(leader, table, seen)}


@pytest.mark.requirement("upstream.family")
def test_a_family_is_descendants_session_and_who_was_seen() -> None:
    assert pids(10, TABLE, frozenset()) == {10, 11, 12, 13, 14}
    seen = marks(family(10, TABLE))
    dead = {pid: one for pid, one in TABLE.items() if pid not in (10, 11)}
    dead[12] = process(12, 1, 12)
    assert pids(10, dead, frozenset()) == {14}
    assert pids(10, dead, seen) == {12, 13, 14}


def test_a_process_that_got_a_used_id_is_no_relative() -> None:
    seen = marks(family(10, TABLE))
    reused = {
        10: process(10, 1, 10, started=9),
        12: process(12, 1, 12, started=9),
        15: process(15, 10, 10, started=9),
    }
    assert pids(10, reused, seen) == set()
