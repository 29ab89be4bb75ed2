"""Configurations that are refused, in exactly the words that ``refused.txt`` has for them."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from mcproxy.config.load import load
from mcproxy.errors import ConfigError

TABLE = Path(__file__).with_name("refused.txt")


@dataclass(frozen=True)
class Refused:
    """One block of the table."""

    title: str
    document: str
    problems: list[str]


def table() -> list[Refused]:
    _, *blocks = TABLE.read_text(encoding="utf-8").rstrip().split("\n\n")
    rows = [block.split("\n") for block in blocks]
    return [Refused(title.removeprefix("# "), document, rest) for title, document, *rest in rows]


def problems_of(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        load(path)
    return [str(problem) for problem in refused.value.problems]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mcproxy.json"


@pytest.mark.requirement("config.problems")
@pytest.mark.parametrize("row", table(), ids=lambda row: row.title)
def test_a_bad_configuration(row: Refused, path: Path) -> None:
    path.write_text(row.document, encoding="utf-8")
    assert problems_of(path) == row.problems


@pytest.mark.requirement("config.problems_masked")
@pytest.mark.parametrize("secret", ["plain-secret", 'a "quoted" \\back é', "it's \n two lines"])
def test_a_problem_tells_no_value_of_a_variable(
    path: Path, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", secret)
    server = {"command": "c", "transport": "${KEY}", "namespace": "${KEY}"}
    path.write_text(json.dumps({"servers": {"s": server}}))
    (transport,) = (each for each in problems_of(path) if "transport" in each)
    assert (
        transport.replace('"', "'") == "servers.s.transport: must be 'http' or 'sse', found '***'"
    )


@pytest.mark.requirement("config.all_at_once")
def test_all_problems_are_reported_in_one_go(path: Path) -> None:
    """Faults of the model do not hide those across sections, nor make them up."""
    document = {
        "servers": {
            "github": {"comand": "npx", "timeout_secs": -1},
            "broken": 5,
            "wiki": {"command": "npx", "namespace": "publik", "args": ["-y", 1]},
            "later": {"url": "${UNSET_URL}", "timeout_secs": "${UNSET_TIME}", "evn": {}},
        },
        "namespaces": {
            "public": ["github", "broken", "later", "wikki"],
            "a": {"extends": "b", "mod": "code"},
            "b": {"extends": "a"},
        },
        "groups": {"g": {"namespaces": ["a", 5]}},
        "auth": {"tokens": [{"name": "x"}]},
        "sandbox": {"level": "none", "network": {"allowed_hosts": ["${UNSET_HOST}", "localhost"]}},
    }
    path.write_text(json.dumps(document))
    places = [problem.partition(": ")[0] for problem in problems_of(path)]
    assert sorted(places) == [
        "auth.tokens[0]",
        "groups.g.namespaces[1]",
        "namespaces.a.extends",
        "namespaces.a.mod",
        "namespaces.public.servers[3]",
        "sandbox.level",
        "sandbox.network.allowed_hosts[0]",
        "sandbox.network.allowed_hosts[1]",
        "servers.broken",
        "servers.github.comand",
        "servers.github.timeout_secs",
        "servers.later.evn",
        "servers.wiki.args[1]",
        "servers.wiki.namespace",
    ]


def test_values_of_variables_are_not_shown(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIDDEN", "sk-do-not-show")
    path.write_text('{"sandbox": {"level": "${HIDDEN}"}, "namespaces": {"a": ["${HIDDEN}"]}}')
    assert problems_of(path) == [
        "sandbox.level: must be 'auto', 'strict', 'hardened', 'seccomp' or 'none', found '***'",
        "namespaces.a.servers[0]: there is no server '***'",
    ]


FILES = {
    b"[]": 'must be an object (start with { "servers": { … } })',
    b"\xff\xfe{}": "not UTF-8 text (byte 0) (save it as UTF-8)",
    b'{"servers": {}, "servers": {}}': "servers: this key stands twice (keep one of the two)",
}


@pytest.mark.parametrize("content", FILES)
def test_a_file_that_is_no_configuration(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    assert problems_of(path) == [FILES[content]]


def test_a_file_that_is_not_there(path: Path) -> None:
    assert problems_of(path) == ["there is no such file (name one with --config PATH)"]


def test_a_directory_is_no_configuration(tmp_path: Path) -> None:
    assert problems_of(tmp_path) == ["cannot be read: Is a directory"]


def test_the_message_names_the_file_and_every_problem(path: Path) -> None:
    path.write_text('{"x": 1, "y": 2}')
    with pytest.raises(ConfigError) as refused:
        load(path)
    first, *others = str(refused.value).splitlines()
    assert first == f"{path}: 2 problem(s)"
    assert len(others) == 2
