"""Files are replaced as a whole, and copies never replace another."""

import stat
from pathlib import Path

import pytest

from mcproxy.commands.files import keep_copy, replace_file


def test_the_permissions_of_a_file_stay(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    path.chmod(0o600)
    replace_file(path, "new\n")
    assert path.read_text() == "new\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["a.json"]


def test_a_new_file_gets_the_mode_that_is_asked(tmp_path: Path) -> None:
    replace_file(tmp_path / ".env", "A=1\n", mode=0o600)
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real.json", tmp_path / "link.json"
    real.write_text("old")
    link.symlink_to(real)
    replace_file(link, "new")
    assert link.is_symlink()
    assert real.read_text() == "new"


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        replace_file(path, "\ud800")
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["a.json"]


def test_copies_are_numbered(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for content in ("one", "two", "three"):
        path.write_text(content)
        keep_copy(path, ".bak")
    copies = {each.name: each.read_text() for each in tmp_path.iterdir() if each != path}
    assert copies == {"a.json.bak": "one", "a.json.bak.1": "two", "a.json.bak.2": "three"}
