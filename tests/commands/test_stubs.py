"""``mcproxy stubs``: the files that it writes."""

from pathlib import Path

import pytest

from mcproxy.commands import stubs
from mcproxy.config.load import load_document
from mcproxy.manifest.model import Manifest, build
from mcproxy.policy.access import policy_of
from mcproxy.types import ServerView, Tool, ToolRef


def learned(*views: ServerView) -> Manifest:
    return build(views)


TOOL = Tool(ToolRef("calc", "add"), {"name": "add", "inputSchema": {"type": "object"}})
CALC = ServerView("calc", "ready", tools=(TOOL,))
POLICY = policy_of(
    load_document(
        {
            "servers": {"calc": {"command": "calc"}, "down": {"command": "x", "namespace": "low"}},
            "namespaces": {"low": []},
            "groups": {"both": ["public", "low"]},
        }
    ).config
)


@pytest.mark.requirement("cli.stubs")
def test_stubs_of_both_languages_are_written_for_each_namespace(tmp_path: Path) -> None:
    output = tmp_path / "a" / "stubs"
    report = stubs.run(lambda: learned(CALC), POLICY, output)
    assert report.lines == (
        f"{output}/mcproxy_api.pyi: 1 tools of 1 servers",
        f"{output}/mcproxy_api.d.ts: 1 tools of 1 servers",
        f"{output}/public/mcproxy_api.pyi: 1 tools of 1 servers",
        f"{output}/public/mcproxy_api.d.ts: 1 tools of 1 servers",
        f"{output}/low/mcproxy_api.pyi: 0 tools of 0 servers",
        f"{output}/low/mcproxy_api.d.ts: 0 tools of 0 servers",
        f"{output}/both/mcproxy_api.pyi: 1 tools of 1 servers",
        f"{output}/both/mcproxy_api.d.ts: 1 tools of 1 servers",
    )
    assert report.status == 0
    for folder in (output, output / "public"):
        assert "async def add(self) -> Any:" in (folder / "mcproxy_api.pyi").read_text()
        assert "add(): Promise<unknown>;" in (folder / "mcproxy_api.d.ts").read_text()
    assert "add" not in (output / "low/mcproxy_api.d.ts").read_text()


def test_one_language_is_enough(tmp_path: Path) -> None:
    stubs.run(lambda: learned(CALC), POLICY, tmp_path, ["typescript"])
    assert {path.name for path in tmp_path.rglob("*.*")} == {"mcproxy_api.d.ts"}


def test_servers_whose_tools_are_not_known_are_told(tmp_path: Path) -> None:
    down, off = ServerView("down", "failed"), ServerView("off", "disabled")
    report = stubs.run(lambda: learned(CALC, down, off), POLICY, tmp_path)
    assert report.status == 1
    assert [line for line in report.lines if line.startswith("down: ")]
    assert "off:" not in report.text


def test_a_file_that_is_right_is_not_touched(tmp_path: Path) -> None:
    (file,) = stubs.files(learned(CALC), {}, tmp_path, ["python"])
    assert file.write()
    before = file.path.stat().st_ino
    assert not file.write()
    assert file.path.stat().st_ino == before
    (other,) = stubs.files(learned(), {}, tmp_path, ["python"])
    assert other.write()
    assert file.path.stat().st_ino != before
