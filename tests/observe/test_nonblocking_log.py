"""A stream whose reader may be slow, or gone."""

import os
import re
import time
from threading import Thread

import pytest

from mcproxy.observe.logs import MAX_WAITING, Unblocked

LINE = "x" * 99 + "\n"
PIPE_BYTES = 1 << 20  # more than a pipe holds
LOOK_SECS = 0.01


@pytest.mark.requirement("stdio.unread_log")
def test_what_nobody_reads_is_lost_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    reading, writing = os.pipe()
    wrote = MAX_WAITING + PIPE_BYTES // len(LINE)
    read: list[str] = []
    with os.fdopen(reading) as reader, os.fdopen(writing, "w") as pipe:
        stream = Unblocked(pipe)
        for _ in range(wrote):
            stream.write(LINE)  # nobody reads, and it does not wait
        late = Thread(target=lambda: read.extend(iter(reader.readline, "")))
        late.start()
        while not (lost := _lost(caplog)) or len(read) + lost < wrote:
            time.sleep(LOOK_SECS)
        stream.close()
        pipe.close()
        late.join()
    assert len(read) + _lost(caplog) == wrote
    assert set(read) == {LINE}


def _lost(caplog: pytest.LogCaptureFixture) -> int:
    return sum(map(int, re.findall(r"(\d+) lines of the log were lost", caplog.text)))


def test_a_reader_that_is_gone_is_no_fault() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        stream = Unblocked(pipe)
        stream.write(LINE)
        stream.close()
        with pytest.raises(BrokenPipeError):
            pipe.close()
