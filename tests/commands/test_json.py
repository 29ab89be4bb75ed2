"""``--json``: one document on stdout, with the version of its form, whatever becomes of a command;
and options that may stand anywhere."""

import argparse
import json
from pathlib import Path

import msgspec
import pytest

from mcproxy.cli import parser
from mcproxy.errors import Problem
from mcproxy.policy.explain import NamespaceStory, Reach, Setting
from mcproxy.subcommands import SUBCOMMANDS, Subcommand, parsed
from mcproxy.types import JsonObject
from tests.commands.processes import typed
from tests.e2e.gateways import echo

# These print a text of another program: a shell's, or that of the JSON Schema.
WITHOUT = {"schema", "completion", "complete"}
THEIRS = {
    "mcpServers": {"theirs": {"command": "uvx", "args": ["x"], "env": {"API_KEY": "canary-key"}}}
}
OLD = {"servers": [{"name": "old", "command": "uvx", "args": ["x"]}]}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A directory with a configuration, a client's list, a file of version 1 and a broken one."""
    namespaces: JsonObject = {"wide": {"extends": "public", "sandbox": {"memory_mb": 512}}}
    config: JsonObject = {"servers": {"echo": echo()}, "namespaces": namespaces}
    texts = {"mcproxy.json": config, "theirs.json": THEIRS, "old.json": OLD}
    for name, document in texts.items():
        (tmp_path / name).write_text(json.dumps(document))
    (tmp_path / "broken.json").write_text('{"servres": {}, "sandbox": {"level": "high"}}')
    return tmp_path


def told(home: Path, *words: str, anew: bool = True) -> tuple[int, JsonObject]:
    """The status and the document of a command; ``anew`` as in ``typed``."""
    done = typed(home, *words, "--json", anew=anew)
    document = json.loads(done.stdout)
    assert document.pop("schema") == 1, done.stderr
    assert "canary" not in done.stdout + done.stderr
    return done.returncode, document


@pytest.mark.requirement("cli.json")
@pytest.mark.parametrize("command", SUBCOMMANDS, ids=lambda each: each.name)
def test_each_command_has_it(command: Subcommand) -> None:
    own = argparse.ArgumentParser()
    command.add_arguments(own)
    assert ("--json" in own.format_help()) == (command.name not in WITHOUT)


@pytest.mark.requirement("cli.json")
def test_a_configuration_as_facts(home: Path) -> None:
    status, facts = told(home, "check")
    assert (status, facts["servers"], facts["namespaces"]) == (0, 1, 2)
    _, story = told(home, "namespaces", "wide")
    assert set(story) == {"namespaces", "tools"}
    wide = msgspec.convert(story["namespaces"], dict[str, NamespaceStory])["wide"]
    assert wide.servers == (Reach("echo", "public"),)
    assert Setting("sandbox.memory_mb", 512, "namespace wide") in wide.settings


@pytest.mark.requirement("cli.json")
def test_an_import_as_facts_and_its_undo(home: Path) -> None:
    before = (home / "mcproxy.json").read_bytes()
    assert told(home, "import", "theirs.json")[1]["written"] is False
    status, facts = told(home, "import", "theirs.json", "--write")
    assert (status, facts["added"], facts["variables"]) == (0, ["theirs"], ["API_KEY"])
    _, undone = told(home, "import", "--undo")
    assert undone == {"restored": [str(home / ".env"), str(home / "mcproxy.json")]}
    assert (home / "mcproxy.json").read_bytes() == before
    assert not (home / ".env").exists()


@pytest.mark.requirement("cli.json")
def test_what_waits_for_a_person_as_facts(home: Path) -> None:
    assert told(home, "approvals") == (0, {"waiting": []})
    assert told(home, "trust") == (0, {"held": {}})


@pytest.mark.requirement("cli.json")
def test_a_migration_and_stubs_as_facts(home: Path) -> None:
    status, facts = told(home, "migrate", "old.json", "--write")
    assert (status, facts["written"]) == (0, True)
    assert facts["document"] == {"servers": {"old": {"command": "uvx", "args": ["x"]}}}
    assert (home / str(facts["backup"])).read_text() == json.dumps(OLD)
    status, facts = told(home, "stubs", "--output", str(home / "types"))
    assert (status, facts["unknown"]) == (0, {})
    (first, _, *_) = msgspec.convert(facts["files"], list[dict[str, str | int]])
    assert Path(str(first["path"])).exists()


@pytest.mark.requirement("cli.json")
@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["check", "broken.json"], 78, "servres"),
        (["login", "nobody"], 2, "there is no server 'nobody'"),
        (["login", "echo"], 2, "needs no login"),
        (["namespaces", "wid"], 2, "did you mean 'wide'?"),
        (["import", "claud"], 2, "no client"),
        (["import", "--undo"], 1, "nothing to undo"),
        (["connect", "emacs"], 2, "no client"),
        (["remove"], 2, "a NAME is needed"),
        (["logs", "nobody"], 1, "or is none"),
        (["exec", "absent.py"], 1, "absent.py: No such file or directory"),
        (["add", "x"], 2, "--url"),
        (["call", "echo", "add", "a"], 2, "key=value"),
    ],
)
def test_a_refusal_is_a_document_too(home: Path, words: list[str], status: int, said: str) -> None:
    found, facts = told(home, *words, anew=False)
    assert found == status
    assert said in str(facts["error"])
    problems = msgspec.convert(facts["problems"], list[Problem])
    assert bool(problems) == (status == 78)
    assert all(each.path for each in problems)


@pytest.mark.requirement("cli.option_order")
@pytest.mark.parametrize(
    ("typed_words", "name", "value"),
    [
        ("call calc add --json a=1 b=2", "any_words", ["a=1", "b=2"]),
        ("call --json calc add a=1 b=2", "any_words", ["a=1", "b=2"]),
        ("call calc --json add a=1 b=2", "any_words", ["a=1", "b=2"]),
        ("call calc add a=1 --json b=2 --config x c=3", "any_words", ["a=1", "b=2", "c=3"]),
        ("call calc add a=1 b=2 --json", "any_words", ["a=1", "b=2"]),
        ("search --json convert units", "any_words", ["convert", "units"]),
        ("search convert --json units", "any_words", ["convert", "units"]),
        ("logs --json echo", "server", "echo"),
        ("import --json --write cursor", "source", "cursor"),
    ],
)
def test_options_may_stand_anywhere(typed_words: str, name: str, value: object) -> None:
    arguments = parsed(parser(), typed_words.split())
    assert arguments.json
    assert getattr(arguments, name) == value


@pytest.mark.requirement("cli.option_order")
@pytest.mark.parametrize("words", ["call calc add --jsn a=1", "check a.json b.json", "status now"])
def test_what_no_command_takes_is_refused(words: str) -> None:
    with pytest.raises(SystemExit):
        parsed(parser(), words.split())
