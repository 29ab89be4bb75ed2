"""When a server is started again: the table of the contract."""

import errno

import pytest

from mcproxy.shortage import SCARCE_SECS
from mcproxy.upstream.supervision.restart import (
    ON_DEMAND,
    REMOTE,
    Ending,
    GiveUp,
    Rest,
    Restart,
    RestartState,
    ending_of,
    next_step,
)


@pytest.mark.requirement("upstream.restart")
def test_three_restarts_in_a_row_then_none() -> None:
    state = RestartState()
    delays = []
    for _ in range(3):
        step = next_step(state, uptime_secs=1, ending="down")
        assert isinstance(step, Restart)
        delays.append(step.delay)
        state = step.state
    assert delays == [1, 2, 4]
    assert isinstance(next_step(state, uptime_secs=1, ending="down"), GiveUp)


def test_a_minute_of_uptime_starts_the_count_anew() -> None:
    step = next_step(RestartState(3, 7), uptime_secs=60, ending="down")
    assert step == Restart(1, RestartState(1, 8))


def test_a_command_that_does_not_exist_is_given_up_at_once() -> None:
    assert isinstance(next_step(RestartState(), uptime_secs=0, ending="hopeless"), GiveUp)


@pytest.mark.requirement("upstream.scarce")
@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN])
def test_what_the_machine_lacks_is_not_counted_against_the_server(number: int) -> None:
    ending, why = ending_of(OSError(number, "no"))
    assert "it cannot be started: " in why
    state = RestartState(3, 3)
    step = next_step(state, uptime_secs=0, ending=ending)
    assert step == Restart(SCARCE_SECS, state)


def test_other_faults_of_a_start_count() -> None:
    assert ending_of(FileNotFoundError("no such")) == ("hopeless", "no such")
    assert ending_of(OSError("odd")) == ("down", "odd")


@pytest.mark.requirement("remote.retried")
def test_a_remote_server_is_tried_for_ever_at_most_a_minute_apart() -> None:
    state = RestartState()
    delays = []
    for _ in range(50):
        step = next_step(state, uptime_secs=1, ending="down", policy=REMOTE)
        assert isinstance(step, Restart)
        delays.append(step.delay)
        state = step.state
    assert delays[:8] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert max(delays) == 60
    assert next_step(state, uptime_secs=60, ending="down", policy=REMOTE) == Restart(
        1, RestartState(1, 51)
    )


@pytest.mark.parametrize("ending", ["down", "hopeless", "scarce"])
def test_an_instance_waits_for_its_next_call_whatever_ended_it(ending: Ending) -> None:
    step = next_step(RestartState(), uptime_secs=0, ending=ending, policy=ON_DEMAND)
    assert step == Rest()
