"""What a model reads before its first call stays below 900 tokens, whatever is behind."""

import json
import random

import pytest
from msgspec.structs import fields

from mcproxy.gateway.arguments import ExecuteArguments
from mcproxy.gateway.descriptions import definitions, instructions, server_list
from mcproxy.gateway.surfaces import OWN_TOOLS
from mcproxy.types import Limits
from tests.tokens import count

ODD = random.Random(7)  # noqa: S311
NAMES = {
    "none": [],
    "one": ["notes"],
    "usual": ["github", "home_assistant", "sequential_thinking", "playwright"] * 10,
    "thousand": [f"server-{number}" for number in range(1000)],
    "odd": ["".join(ODD.choices("abcXYZ019_-.", k=32)) for _ in range(1000)],
    "long": ["".join(ODD.choices("abcXYZ019_-.", k=64)) for _ in range(1000)],
}


@pytest.mark.requirement("meta.budget")
@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("encoding", ["o200k_base", "cl100k_base"])
def test_at_most_900_tokens(names: list[str], encoding: str) -> None:
    tools = definitions(OWN_TOOLS["code"], [(name, 120) for name in names], Limits(), "")
    text = json.dumps({"tools": tools}) + instructions(OWN_TOOLS["code"], "")
    assert count(text, encoding) <= 900


@pytest.mark.requirement("meta.budget")
def test_they_teach_what_is_kept() -> None:
    _, execute = definitions(OWN_TOOLS["code"], [], Limits(), "")
    for word in ('api.result("', "api.stash[", "`ref`", "`resume`", "`session`"):
        assert word in str(execute["description"])
    schema = execute["inputSchema"]
    assert isinstance(schema, dict)
    assert isinstance(schema["properties"], dict)
    assert {*schema["properties"]} == {each.name for each in fields(ExecuteArguments)}


def test_at_most_twenty_names_then_how_many_more() -> None:
    listed = server_list([(f"s{number}", number) for number in range(25)])
    assert listed.startswith("Servers (tools): s0 (0), s1 (1)")
    assert "s19 (19)" in listed
    assert "s20" not in listed
    assert listed.endswith("and 5 more.")
