"""What a request sees of the manifest, cut into the parts of namespaces."""

import json

import pytest
from msgspec.structs import replace

from mcproxy.config.load import load_document
from mcproxy.config.secrets import MASK
from mcproxy.gateway.snapshot import take_snapshot
from mcproxy.manifest.model import build
from mcproxy.observe.redact import Redactor
from mcproxy.policy.access import policy_of
from mcproxy.types import ServerView, Tool, ToolRef

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
    texts = {name: before.outlines.of(part) for name, part in first.parts.items()}
    second = build([replace(NOTES, state="restarting"), view("calc", "subtract")], first)
    after = take_snapshot(POLICY, second, before.outlines.redactor, before)
    assert after.outlines.of(second.parts["notes"]) is texts["notes"]
    assert b"subtract" in after.views["sums"].manifest_json
    assert b"subtract" not in before.views["sums"].manifest_json


def test_other_secrets_have_everything_written_anew() -> None:
    manifest = build([CALC])
    before = take_snapshot(POLICY, manifest)
    assert SECRET.encode() in before.views["sums"].manifest_json
    after = take_snapshot(POLICY, manifest, Redactor(frozenset({SECRET})), before)
    assert SECRET.encode() not in after.views["sums"].manifest_json
