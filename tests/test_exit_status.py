"""The names of signals, for each number that a child can be ended by."""

import signal

import pytest

from mcproxy.exit_status import signal_name


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (signal.SIGKILL, "SIGKILL"),
        (signal.SIGRTMIN, "SIGRTMIN"),
        (signal.SIGRTMIN + 6, "SIGRTMIN+6"),
        (signal.SIGRTMAX, "SIGRTMAX"),
        (32, "signal 32"),
        (0, "signal 0"),
        (99, "signal 99"),
        (-9, "signal -9"),
    ],
)
def test_every_number_has_words(number: int, name: str) -> None:
    assert signal_name(number) == name


def test_no_two_signals_share_their_words() -> None:
    assert len({signal_name(number) for number in range(1, 65)}) == 64
