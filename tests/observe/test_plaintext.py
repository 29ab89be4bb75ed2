"""Secrets in plain text are found by name and by form; what is none is left alone."""

import pytest

from mcproxy.config.jsonc import written
from mcproxy.observe.secret_shapes import Plaintext, plaintexts
from mcproxy.types import Json, JsonObject


def found(value: Json) -> list[tuple[str, str, str]]:
    return [(written(each.steps), each.name, each.secret) for each in plaintexts(value)]


FOUND: dict[str, tuple[Json, list[tuple[str, str, str]]]] = {
    "by the variable's name": (
        {"env": {"GITHUB_TOKEN": "canary1"}},
        [("env.GITHUB_TOKEN", "GITHUB_TOKEN", "canary1")],
    ),
    "a header without its scheme": (
        {"headers": {"Authorization": "Bearer canary1"}},
        [("headers.Authorization", "Authorization", "canary1")],
    ),
    "an option": (
        {"args": ["-y", "x", "--api-key", "canary1", "--verbose", "canary2"]},
        [("args[3]", "--api-key", "canary1")],
    ),
    "an option with its value": (
        ["--token=canary1", "--level=canary2"],
        [("[0]", "--token", "canary1")],
    ),
    "a variable of docker": (
        ["run", "-e", "API_KEY=canary1", "-e", "API_KEY"],
        [("[2]", "API_KEY", "canary1")],
    ),
    "a header of a bridge": (
        ["--header", "Authorization: Bearer canary1"],
        [("[1]", "Authorization", "canary1")],
    ),
    "by its form": (
        {"note": "use ghp_aaaaaaaaaaaaaaaaaaaa1234 here"},
        [("note", "note", "ghp_aaaaaaaaaaaaaaaaaaaa1234")],
    ),
    "in a URL": (
        {"url": "postgres://me:canary1@db/x"},
        [("url", "url", "canary1")],
    ),
    "in a query": (
        {"url": "https://x.org/mcp?api_key=canary1&b=2"},
        [("url", "url", "canary1")],
    ),
}

INNOCENT: list[Json] = [
    {"env": {"GITHUB_TOKEN": "${GITHUB_TOKEN}", "TOKEN": "x-${ID}"}},
    {
        "env": {
            "KEY_FILE": "x",
            "TOKEN": "<your token>",
            "AUTH": "none",
            "SORT_KEY": "created_at",
            "SECRET": "short",
        }
    },
    {"env": {"GOOGLE_CREDENTIALS": "/run/secrets/google.json", "TOKEN": "~/token"}},
    {"auth": {"tokens": []}, "servers": {"a": {"args": ["--token", "-v"]}}},
    {"timeout_secs": 30, "enabled": True, "none": None},
    {"args": ["-y", "@modelcontextprotocol/server-github@2025.4.8"]},
    "GITHUB_TOKEN=canary1",
]


@pytest.mark.parametrize("title", FOUND)
def test_secrets_are_found(title: str) -> None:
    value, expected = FOUND[title]
    assert found(value) == expected


@pytest.mark.parametrize("value", INNOCENT, ids=str)
def test_what_is_no_secret_is_left_alone(value: Json) -> None:
    assert found(value) == []


def test_what_only_looks_like_one_is_told_apart() -> None:
    value: JsonObject = {"env": {"TEAM": "aZ3kQ9xL0pR7tV2wB5nM8cD1"}}
    (only,) = plaintexts(value)
    assert not only.sure


def test_a_secret_is_in_no_repr() -> None:
    assert "canary" not in repr(Plaintext(("a",), "A", "canary"))
