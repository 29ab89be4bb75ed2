"""Sessions: how many, how long, and whose."""

import pytest
from msgspec.structs import replace

from mcproxy.frontends.sessions import Bounds, Full, Sessions
from mcproxy.gateway.request import RequestSource
from mcproxy.policy.access import AccessDenied
from mcproxy.queues import Gate
from mcproxy.types import Caller
from tests.frontends.serving import HERE, Scripts, World

BOUNDS = Bounds(sessions=10, idle_secs=100, unused_secs=10, listeners=4)  # half for one
ADA, BOB = RequestSource(Caller("t0k3n")), RequestSource(Caller("b0b"))


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
        sessions.open("streamable", HERE, "one")
    assert len(sessions) == 1000
    clock.secs = Bounds().unused_secs + 1
    sessions.sweep()
    assert len(sessions) == 0


def test_a_used_session_lives_longer_and_an_open_stream_keeps_it() -> None:
    sessions, clock = make()
    used, listening, unused = (sessions.open("streamable", HERE, "one") for _ in range(3))
    assert sessions.find(used.id, "streamable", HERE) is used
    assert sessions.find(listening.id, "streamable", HERE) is listening  # as GET does
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
        held.append(sessions.open("streamable", HERE, "one"))
    for session in held[:4]:
        sessions.find(session.id, "streamable", HERE)
    sessions.open("streamable", HERE, "one")  # held[4] was never used
    assert sessions.find(held[4].id, "streamable", HERE) is None
    assert all(sessions.find(session.id, "streamable", HERE) for session in held[:4])


def test_sessions_that_are_all_in_use_are_not_ended() -> None:
    sessions, _ = make()
    for _ in range(5):
        session = sessions.open("sse", HERE, "one")
        session.home.attach()
        sessions.find(session.id, "sse", HERE)
    with pytest.raises(Full):
        sessions.open("sse", HERE, "one")
    assert len(sessions) == 5


def test_who_opens_sessions_without_using_them_keeps_nobody_else_out() -> None:
    sessions, _ = make()
    other = sessions.open("sse", HERE, "other")
    for _ in range(50):
        sessions.open("sse", HERE, "flood").home.attach()
    assert len(sessions) == 6
    assert sessions.find(other.id, "sse", HERE) is other
    used = sessions.open("sse", HERE, "flood")
    sessions.find(used.id, "sse", HERE)
    for _ in range(50):
        sessions.open("sse", HERE, "flood").home.attach()
    assert sessions.find(used.id, "sse", HERE) is used


def test_a_stream_whose_session_is_never_used_ends() -> None:
    sessions, clock = make()
    session = sessions.open("sse", HERE, "one")
    reader = session.home.attach()
    clock.secs = BOUNDS.unused_secs + 1
    sessions.sweep()
    assert len(sessions) == 0
    assert reader.done


@pytest.mark.requirement("sessions.owner")
def test_a_session_is_its_callers_alone() -> None:
    sessions, _ = make()
    session = sessions.open("streamable", replace(ADA, path="locked"), "one")
    assert sessions.find(session.id, "streamable", replace(ADA, path="locked")) is session
    assert sessions.find(session.id, "streamable", replace(BOB, path="locked")) is None
    assert sessions.find(session.id, "streamable", ADA) is None
    assert sessions.find(session.id, "sse", replace(ADA, path="locked")) is None
    with pytest.raises(AccessDenied):
        sessions.open("streamable", replace(HERE, path="locked"), "one")


def test_listeners_are_counted() -> None:
    sessions, _ = make()
    ended: list[int] = []
    uncount = sessions.listen(lambda: ended.append(1), "one")
    sessions.listen(lambda: ended.append(2), "one")
    with pytest.raises(Full):
        sessions.listen(lambda: None, "one")
    uncount()
    sessions.close()
    assert ended == [2]
