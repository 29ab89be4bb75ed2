"""A stream whose reader may be slow, or gone."""

import os
import re

import pytest

from mcproxy.observe.unblocked import MAX_WAITING, Unblocked

LINE = "x" * 99 + "\n"
PIPE_BYTES = 1 << 20  # more than a pipe holds


@pytest.mark.requirement("stdio.unread_log")
def test_what_nobody_reads_is_lost_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    reading, writing = os.pipe()
    wrote = MAX_WAITING + PIPE_BYTES // len(LINE)
    with os.fdopen(reading) as reader, os.fdopen(writing, "w") as pipe:
        stream = Unblocked(pipe)
        for _ in range(wrote):
            stream.write(LINE)
        read = [reader.readline()]  # from now on somebody reads
        while not (lost := re.search(r"(\d+) lines of the log were lost", caplog.text)):
            read.append(reader.readline())
        read += [reader.readline() for _ in range(wrote - int(lost[1]) - len(read))]
        stream.close()
        pipe.close()
        assert reader.read() == ""
    assert set(read) == {LINE}


def test_a_reader_that_is_gone_is_no_fault() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        stream = Unblocked(pipe)
        stream.write(LINE)
        stream.close()
        with pytest.raises(BrokenPipeError):
            pipe.close()
