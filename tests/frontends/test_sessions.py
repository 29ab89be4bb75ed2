"""Sessions: how many, how long, and whose."""

from dataclasses import replace

import pytest

from mcproxy.frontends.gate import Gate
from mcproxy.frontends.sessions import Bounds, Full, Sessions
from mcproxy.gateway.core import Where
from mcproxy.policy.access import AccessDenied
from mcproxy.types import Caller
from tests.frontends.serving import HERE, Scripts, World

BOUNDS = Bounds(sessions=5, idle_secs=100, unused_secs=10, listeners=2)
ADA, BOB = Where(Caller("t0k3n")), Where(Caller("b0b"))


class Clock:
    """Time that stands still until it is moved."""

    def __init__(self) -> None:
        self.secs = 0.0

    def __call__(self) -> float:
        return self.secs


def make(bounds: Bounds = BOUNDS) -> tuple[Sessions, Clock]:
    clock = Clock()
    return Sessions(World(Scripts()).gateway, Gate(), bounds, clock), clock


@pytest.mark.requirement("sessions.bounded")
def test_a_thousand_abandoned_sessions_fall_back_to_none() -> None:
    sessions, clock = make(Bounds())
    for _ in range(1500):
        sessions.open("streamable", HERE)
    assert len(sessions) == 1000
    clock.secs = Bounds().unused_secs + 1
    sessions.sweep()
    assert len(sessions) == 0


def test_a_used_session_lives_longer_and_an_open_stream_keeps_it() -> None:
    sessions, clock = make()
    used, listening, unused = (sessions.open("streamable", HERE) for _ in range(3))
    assert sessions.find(used.id, "streamable", HERE) is used
    reader = listening.home.attach()
    clock.secs = 50
    sessions.sweep()
    assert sessions.find(unused.id, "streamable", HERE) is None
    clock.secs = 200
    sessions.sweep()
    assert sessions.find(used.id, "streamable", HERE) is None
    assert sessions.find(listening.id, "streamable", HERE) is listening
    reader.close()
    sessions.closed(listening, listening.home)
    clock.secs = 299
    sessions.sweep()
    assert len(sessions) == 1
    clock.secs = 301
    sessions.sweep()
    assert len(sessions) == 0


def test_room_is_made_by_those_that_are_missed_least() -> None:
    sessions, clock = make()
    held = []
    for number in range(5):
        clock.secs = number
        held.append(sessions.open("streamable", HERE))
    for session in held[:4]:
        sessions.find(session.id, "streamable", HERE)
    sessions.open("streamable", HERE)  # held[4] was never used
    assert sessions.find(held[4].id, "streamable", HERE) is None
    assert all(sessions.find(session.id, "streamable", HERE) for session in held[:4])


def test_sessions_that_are_all_in_use_are_not_ended() -> None:
    sessions, _ = make()
    for _ in range(5):
        sessions.open("sse", HERE).home.attach()
    with pytest.raises(Full):
        sessions.open("sse", HERE)
    assert len(sessions) == 5


@pytest.mark.requirement("sessions.owner")
def test_a_session_is_its_callers_alone() -> None:
    sessions, _ = make()
    session = sessions.open("streamable", replace(ADA, path="locked"))
    assert sessions.find(session.id, "streamable", replace(ADA, path="locked")) is session
    assert sessions.find(session.id, "streamable", replace(BOB, path="locked")) is None
    assert sessions.find(session.id, "streamable", ADA) is None
    assert sessions.find(session.id, "sse", replace(ADA, path="locked")) is None
    with pytest.raises(AccessDenied):
        sessions.open("streamable", replace(HERE, path="locked"))


def test_listeners_are_counted() -> None:
    sessions, _ = make()
    ended: list[int] = []
    uncount = sessions.listen(lambda: ended.append(1))
    sessions.listen(lambda: ended.append(2))
    with pytest.raises(Full):
        sessions.listen(lambda: None)
    uncount()
    sessions.close()
    assert ended == [2]
