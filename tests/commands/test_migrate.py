"""``mcproxy migrate``: the difference is shown, the old file kept, nothing lost."""

import json
from pathlib import Path

import pytest

from mcproxy.commands import migrate
from mcproxy.config.load import load
from mcproxy.errors import ConfigError

V1 = """\
{
    "_about": "home server",
    "servers": [
        {
            "name": "wikipedia",
            "_why": "smoke test",
            "command": "npx",
            "args": ["-y", "wikipedia-mcp"],
            "timeout": 60
        }
    ]
}
"""
V2 = """\
{
    "_about": "home server",
    "servers": {
        "wikipedia": {
            "_why": "smoke test",
            "command": "npx",
            "args": ["-y", "wikipedia-mcp"],
            "timeout_secs": 60
        }
    }
}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "mcproxy.json"
    path.write_text(V1)
    return path


@pytest.mark.requirement("cli.migrate")
def test_without_write_the_difference_is_shown_and_nothing_changes(path: Path) -> None:
    report = migrate.run(path)
    assert report.status == 0
    assert path.read_text() == V1
    changed = [line for line in report.lines if line[:1] in "+-" and line[1:2] == " "]
    assert changed == [
        '-    "servers": [',
        "-        {",
        '-            "name": "wikipedia",',
        '+    "servers": {',
        '+        "wikipedia": {',
        '-            "timeout": 60',
        '+            "timeout_secs": 60',
        "-    ]",
        "+    }",
    ]
    assert "--write" in report.lines[-1]


@pytest.mark.requirement("cli.migrate")
def test_write_keeps_the_old_file_and_all_comment_keys(path: Path) -> None:
    before = load(path).config
    report = migrate.run(path, write=True)
    assert report.status == 0
    assert path.read_text() == V2
    backup = path.with_name("mcproxy.json.bak")
    assert backup.read_text() == V1
    assert str(backup) in report.text
    assert load(path).config == before


def test_a_v2_file_is_left_alone(path: Path) -> None:
    migrate.run(path, write=True)
    report = migrate.run(path, write=True)
    assert report.status == 0
    assert "v2 file already" in report.text
    assert sorted(each.name for each in path.parent.iterdir()) == [
        "mcproxy.json",
        "mcproxy.json.bak",
    ]


def test_no_backup_is_ever_overwritten(path: Path) -> None:
    path.with_name("mcproxy.json.bak").write_text("precious")
    migrate.run(path, write=True)
    assert path.with_name("mcproxy.json.bak").read_text() == "precious"
    assert path.with_name("mcproxy.json.bak.1").read_text() == V1


def test_comments_that_cannot_come_along_are_told(path: Path) -> None:
    path.write_text('{"servers": [{"name": "x", "command": "c", "retries": 3},]} // v1')
    report = migrate.run(path, write=True)
    assert [line for line in report.lines if line.startswith("note: comments")]
    assert [line for line in report.lines if "retries" in line]
    assert json.loads(path.read_text()) == {"servers": {"x": {"command": "c", "_retries": 3}}}


def test_a_file_that_cannot_be_brought_to_v2_is_refused(path: Path) -> None:
    path.write_text('{"servers": [{"command": "c"}]}')
    with pytest.raises(ConfigError, match="has no name"):
        migrate.run(path, write=True)
    assert not path.with_name("mcproxy.json.bak").exists()


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        migrate.run(tmp_path / "none.json")
