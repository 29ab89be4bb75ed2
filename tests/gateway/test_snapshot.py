"""What a request sees of the manifest, cut into the parts of namespaces."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mcproxy.config.load import load_document
from mcproxy.config.secrets import MASK
from mcproxy.gateway.names import aliases
from mcproxy.gateway.snapshot import META_TOOLS, PREFIX, take_snapshot
from mcproxy.manifest.model import build
from mcproxy.observe.redact import Redactor
from mcproxy.policy.access import policy_of
from mcproxy.types import JsonObject, ServerView, Tool, ToolRef

SECRET = "hunter22hunter22"
POLICY = policy_of(
    load_document(
        {
            "servers": {"notes": {"command": "x"}, "calc": {"command": "x"}},
            "namespaces": {"sums": {"servers": ["calc"]}, "all": {"servers": ["calc", "notes"]}},
        }
    ).config
)


def view(name: str, *tools: str, description: str = "") -> ServerView:
    listed = tuple(Tool(ToolRef(name, tool), {"name": tool}) for tool in tools)
    return ServerView(name, "ready", description, listed)


NOTES, CALC = view("notes", "keep", "find"), view("calc", "add", description=f"Sums, {SECRET}.")


@pytest.mark.requirement("api.manifest")
def test_the_manifest_of_scripts_has_the_servers_in_sight_and_no_secrets() -> None:
    snapshot = take_snapshot(POLICY, build([NOTES, CALC]), Redactor(frozenset({SECRET})))
    calc = {"description": f"Sums, {MASK}.", "tools": ["add"]}
    assert json.loads(snapshot.views["sums"].manifest_json) == {
        "namespace": "sums",
        "servers": {"calc": calc},
    }
    assert json.loads(snapshot.views["all"].manifest_json) == {
        "namespace": "all",
        "servers": {"notes": {"description": "", "tools": ["keep", "find"]}, "calc": calc},
    }


@pytest.mark.requirement("speed.publish")
def test_a_change_of_one_server_leaves_what_is_written_of_the_others() -> None:
    first = build([NOTES, CALC])
    before = take_snapshot(POLICY, first)
    texts = {name: before.outlines.of(part).json for name, part in first.parts.items()}
    second = build([replace(NOTES, state="restarting"), view("calc", "subtract")], first)
    after = take_snapshot(POLICY, second, before.outlines.redactor, before)
    assert after.outlines.of(second.parts["notes"]).json is texts["notes"]
    assert b"subtract" in after.views["sums"].manifest_json
    assert b"subtract" not in before.views["sums"].manifest_json


def test_other_secrets_have_everything_written_anew() -> None:
    manifest = build([CALC])
    before = take_snapshot(POLICY, manifest)
    assert SECRET.encode() in before.views["sums"].manifest_json
    after = take_snapshot(POLICY, manifest, Redactor(frozenset({SECRET})), before)
    assert SECRET.encode() not in after.views["sums"].manifest_json


def test_a_change_of_one_server_leaves_what_the_others_tools_are_called() -> None:
    first = build([NOTES, CALC])
    before = take_snapshot(POLICY, first)
    named = {name: before.outlines.of(part).direct for name, part in first.parts.items()}
    second = build([NOTES, view("calc", "subtract")], first)
    after = take_snapshot(POLICY, second, before.outlines.redactor, before)
    assert after.outlines.of(second.parts["notes"]).direct is named["notes"]
    assert list(after.views["all"].direct) == ["notes__keep", "notes__find", "calc__subtract"]


# Names that can be read in two ways, are those of the gateway's own tools, or are valid nowhere.
PARTS = st.sampled_from(["a", "b", "_", "a__b", "b_", "search", "mcproxy", "execute", "é"])
OFFERS = st.dictionaries(PARTS, st.lists(PARTS, unique=True, max_size=4), max_size=4)


@pytest.mark.requirement("direct.names")
@given(OFFERS, st.sets(PARTS))
def test_names_made_server_by_server_are_those_made_of_all_at_once(
    offers: dict[str, list[str]], bare: set[str]
) -> None:
    servers: JsonObject = {
        name: {"command": "x", "prefix": name not in bare} for name in offers if name.isascii()
    }
    policy = policy_of(load_document({"servers": servers}).config)
    views = [view(name, *tools) for name, tools in offers.items() if name in servers]
    seen = take_snapshot(policy, build(views)).views[policy.default]
    items = [(tool.ref.server, tool.ref.tool) for tool in seen.manifest.tools]
    own = [prefix + name for prefix in ("", PREFIX) for name in META_TOOLS]
    for shown, reserved in ((seen.direct, ()), (seen.beside, own)):
        expected = aliases(items, seen.bare, reserved)
        assert [(name, (tool.ref.server, tool.ref.tool)) for name, tool in shown.items()] == [
            *expected.items()
        ]
