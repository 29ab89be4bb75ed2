"""When a server is started again: the table of the contract."""

import pytest

from mcproxy.upstream.supervision.restart import (
    ON_DEMAND,
    REMOTE,
    GiveUp,
    Rest,
    Restart,
    RestartState,
    next_step,
)


@pytest.mark.requirement("upstream.restart")
def test_three_restarts_in_a_row_then_none() -> None:
    state = RestartState()
    delays = []
    for _ in range(3):
        step = next_step(state, uptime_secs=1, startable=True)
        assert isinstance(step, Restart)
        delays.append(step.delay)
        state = step.state
    assert delays == [1, 2, 4]
    assert isinstance(next_step(state, uptime_secs=1, startable=True), GiveUp)


def test_a_minute_of_uptime_starts_the_count_anew() -> None:
    step = next_step(RestartState(3, 7), uptime_secs=60, startable=True)
    assert step == Restart(1, RestartState(1, 8))


def test_a_command_that_does_not_exist_is_given_up_at_once() -> None:
    assert isinstance(next_step(RestartState(), uptime_secs=0, startable=False), GiveUp)


@pytest.mark.requirement("remote.retried")
def test_a_remote_server_is_tried_for_ever_at_most_a_minute_apart() -> None:
    state = RestartState()
    delays = []
    for _ in range(50):
        step = next_step(state, uptime_secs=1, startable=True, policy=REMOTE)
        assert isinstance(step, Restart)
        delays.append(step.delay)
        state = step.state
    assert delays[:8] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert max(delays) == 60
    assert next_step(state, uptime_secs=60, startable=True, policy=REMOTE) == Restart(
        1, RestartState(1, 51)
    )


@pytest.mark.parametrize("startable", [True, False])
def test_an_instance_waits_for_its_next_call_whatever_ended_it(startable: bool) -> None:
    step = next_step(RestartState(), uptime_secs=0, startable=startable, policy=ON_DEMAND)
    assert step == Rest()
