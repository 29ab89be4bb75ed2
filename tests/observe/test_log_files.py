"""Log files: bounded, private, never in the way."""

import logging
from pathlib import Path

import pytest

from mcproxy.observe.log_files import (
    BURST_LINES,
    STDERR_LOGGER,
    Allowance,
    FileLog,
    RotatedFile,
    log_path,
    set_aside,
)


@pytest.mark.requirement("logs.bounded_files")
def test_a_full_file_is_set_aside_and_two_writers_share_it(tmp_path: Path) -> None:
    path = tmp_path / "logs/x.log"
    first, second = RotatedFile(path, 100), RotatedFile(path, 100)
    for number in range(20):
        (first if number % 2 else second).write(f"line number {number:4}\n".encode())
    first.close()
    second.close()
    sizes = [each.stat().st_size for each in path.parent.iterdir()]
    assert len(sizes) == 2
    assert max(sizes) <= 100
    assert "line number   19" in path.read_text()
    assert {each.stat().st_mode & 0o777 for each in path.parent.iterdir()} == {0o600}
    assert set_aside(path).exists()


@pytest.mark.requirement("logs.bounded_files")
def test_a_server_that_writes_too_fast_loses_lines_that_are_counted() -> None:
    now = [0.0]
    allowed = Allowance(lambda: now[0])
    taken = [allowed.take() for _ in range(BURST_LINES + 10)]
    assert taken.count(None) == 10
    now[0] = 1.0
    assert allowed.take() == 10
    assert allowed.take() == 0


def test_a_name_is_no_path(tmp_path: Path) -> None:
    assert log_path(tmp_path, "../../x").parent == tmp_path / "logs"
    assert log_path(tmp_path, "gateway") != log_path(tmp_path)


def test_a_place_that_cannot_be_written_harms_nobody(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file")
    files = FileLog(tmp_path)
    record = logging.makeLogRecord(
        {"name": STDERR_LOGGER, "msg": "x", "server": "s", "line": "x", "levelno": logging.DEBUG}
    )
    files.emit(record)
    files.close()
    assert (tmp_path / "logs").read_text() == "a file"
