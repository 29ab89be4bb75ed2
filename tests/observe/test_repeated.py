"""Repeated lines of the log: the first are shown, all others are counted, and none is lost."""

import logging
import threading
from collections.abc import Iterator

import pytest

from mcproxy.observe.repeated import MAX_KINDS, SHOWN, TIMER, WINDOW_SECS, RepeatLimit


class Log(logging.Handler):
    """A handler that keeps what it is given, on a clock that the test moves."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.told: list[logging.LogRecord] = []
        self.limit = RepeatLimit(self.handle, now=lambda: self.now)
        self.addFilter(self.limit)

    def emit(self, record: logging.LogRecord) -> None:
        self.told.append(record)

    def say(self, times: int, text: str = "junk: %d", name: str = "a", **extra: str) -> None:
        for number in range(times):
            record = logging.makeLogRecord({"name": name, "msg": text, "args": (number,), **extra})
            self.handle(record)

    @property
    def texts(self) -> list[str]:
        return [record.getMessage() for record in self.told]


@pytest.fixture
def log() -> Iterator[Log]:
    log = Log()
    yield log
    log.limit.close()


@pytest.mark.requirement("logs.repeated")
def test_the_first_are_shown_and_the_others_counted(log: Log) -> None:
    log.say(SHOWN + 1234)
    assert log.texts == [f"junk: {number}" for number in range(SHOWN)]
    log.now = WINDOW_SECS
    log.say(1)
    count = f"1234 more lines like this within 60 s; the latest: junk: {SHOWN + 1233}"
    assert log.texts[SHOWN:] == [count, "junk: 0"]
    assert log.told[SHOWN].__dict__["repeated"] == 1234


@pytest.mark.requirement("logs.repeated")
def test_the_count_is_told_when_nothing_else_happens() -> None:
    log = Log()
    told = log.limit = RepeatLimit(log.handle, window_secs=0.05)
    log.filters[:] = [told]
    log.say(SHOWN + 5)
    timers = [each for each in threading.enumerate() if each.name == TIMER]
    for timer in timers:
        timer.join(10)
    assert (
        log.texts[SHOWN] == f"5 more lines like this within 0.05 s; the latest: junk: {SHOWN + 4}"
    )


def test_each_kind_and_server_has_its_own_lines(log: Log) -> None:
    log.say(SHOWN)
    log.say(SHOWN, text="other: %d")
    log.say(SHOWN, name="b")
    log.say(SHOWN, server="one")
    log.say(SHOWN, server="two")
    assert len(log.told) == 5 * SHOWN


def test_what_was_held_back_is_told_at_the_end(log: Log) -> None:
    log.say(SHOWN + 3)
    log.limit.close()
    assert log.texts[-1].startswith("3 more lines")


def test_records_of_what_was_allowed_are_never_held_back(log: Log) -> None:
    log.say(2 * SHOWN, name="mcproxy.audit")
    log.say(2 * SHOWN, name="mcproxy.egress", verdict="allowed")
    assert len(log.told) == 4 * SHOWN


def test_kinds_are_bounded(log: Log) -> None:
    for number in range(2 * MAX_KINDS):
        log.say(1, server=f"server {number}")
    assert len(log.limit._windows) == MAX_KINDS
