"""What is kept between runs is written for nobody else, whole or not at all."""

import stat
from pathlib import Path

import pytest

from mcproxy.config.state import replace_private, state_directory


def test_only_the_owner_reads_what_is_kept(tmp_path: Path) -> None:
    kept = tmp_path / "state" / "kept.json"
    replace_private(kept, b"old")
    kept.chmod(0o644)
    replace_private(kept, b"new")
    assert kept.read_bytes() == b"new"
    assert [stat.S_IMODE(path.stat().st_mode) for path in (kept.parent, kept)] == [0o700, 0o600]


def test_a_file_that_cannot_be_replaced_leaves_nothing_behind(tmp_path: Path) -> None:
    in_the_way = tmp_path / "kept.json"
    (in_the_way / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match=str(in_the_way)):
        replace_private(in_the_way, b"new")
    assert list(tmp_path.iterdir()) == [in_the_way]


@pytest.mark.parametrize(
    ("environment", "directory"),
    [
        ({"HOME": "/home/ann"}, "/home/ann/.local/state/mcproxy"),
        ({"HOME": "/home/ann", "XDG_STATE_HOME": "/var/ann"}, "/var/ann/mcproxy"),
        ({"HOME": "/home/ann", "XDG_STATE_HOME": "ann"}, "/home/ann/.local/state/mcproxy"),
        ({"HOME": "/home/ann", "XDG_STATE_HOME": ""}, "/home/ann/.local/state/mcproxy"),
    ],
)
def test_where_state_lies(environment: dict[str, str], directory: str) -> None:
    assert state_directory(environment) == Path(directory)
