"""The page on the command line says what the parser takes; completion offers the same."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cli_reference import PAGE, page
from tests.commands.processes import typed


@pytest.mark.requirement("cli.reference")
def test_the_page_is_made_from_the_parser() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text == page(text), "python -m tests.cli_reference writes it"
    assert "### connect" in text


@pytest.mark.requirement("cli.completion")
@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["sta"], ["status"]),
        (["search", "--na"], ["--namespace"]),
        (["connect", "cu"], ["cursor"]),
        (["completion", ""], ["bash", "fish", "zsh"]),
        (["remove", "ec"], ["echo"]),
        (["logs", ""], ["echo", "other"]),
        (["exec", ""], []),
    ],
)
def test_words_are_completed(tmp_path: Path, words: list[str], found: list[str]) -> None:
    (tmp_path / "mcproxy.json").write_text('{"servers": {"echo": {}, "other": {}}}')
    done = typed(tmp_path, "complete", "--", *words)
    assert (done.returncode, done.stdout.split()) == (0, found)


@pytest.mark.requirement("cli.completion")
def test_tools_that_were_seen_are_completed(tmp_path: Path) -> None:
    assert typed(tmp_path, "status").returncode == 0
    done = typed(tmp_path, "complete", "--", "call", "calc", "convert_", anew=True)
    assert {"convert_units", "convert_base"} <= set(done.stdout.split())


@pytest.mark.requirement("cli.completion")
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_scripts_are_read_by_their_shells(tmp_path: Path, shell: str) -> None:
    script = typed(tmp_path, "completion", shell, anew=True).stdout
    assert "complete --" in script
    if program := shutil.which(shell):
        subprocess.run([program, "-n"], input=script, text=True, check=True, timeout=60)
