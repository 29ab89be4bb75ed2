"""``mcproxy stubs``: the files that it writes."""

from pathlib import Path

import pytest

from mcproxy.commands import stubs
from mcproxy.manifest.model import Manifest, build
from mcproxy.types import ServerView, Tool, ToolRef


def learned(*views: ServerView) -> Manifest:
    return build(views)


TOOL = Tool(ToolRef("calc", "add"), {"name": "add", "inputSchema": {"type": "object"}})
CALC = ServerView("calc", "ready", tools=(TOOL,))


@pytest.mark.requirement("cli.stubs")
def test_stubs_of_both_languages_are_written(tmp_path: Path) -> None:
    output = tmp_path / "a" / "stubs"
    report = stubs.run(lambda: learned(CALC), output)
    assert report.lines == (
        f"{output}/mcproxy_api.pyi: 1 tools of 1 servers",
        f"{output}/mcproxy_api.d.ts: 1 tools of 1 servers",
    )
    assert report.status == 0
    assert "async def add(self) -> Any:" in (output / "mcproxy_api.pyi").read_text()
    assert "add(): Promise<unknown>;" in (output / "mcproxy_api.d.ts").read_text()


def test_one_language_is_enough(tmp_path: Path) -> None:
    stubs.run(lambda: learned(CALC), tmp_path, ["typescript"])
    assert [path.name for path in tmp_path.iterdir()] == ["mcproxy_api.d.ts"]


def test_servers_whose_tools_are_not_known_are_told(tmp_path: Path) -> None:
    down, off = ServerView("down", "failed"), ServerView("off", "disabled")
    report = stubs.run(lambda: learned(CALC, down, off), tmp_path)
    assert report.status == 1
    assert [line for line in report.lines if line.startswith("down: ")]
    assert "off:" not in report.text


def test_a_file_that_is_right_is_not_touched(tmp_path: Path) -> None:
    (path,) = stubs.write(learned(CALC), tmp_path, ["python"])
    before = path.stat().st_ino
    stubs.write(learned(CALC), tmp_path, ["python"])
    assert path.stat().st_ino == before
    stubs.write(learned(), tmp_path, ["python"])
    assert path.stat().st_ino != before
