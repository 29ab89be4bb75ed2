"""What rules for tools come to, told of the tools that a server had when it last ran."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from mcproxy.commands import namespaces
from mcproxy.commands.tool_verdicts import doubts, known_tools
from mcproxy.config.load import Loaded, load_document
from mcproxy.types import Json, JsonObject, Tool, ToolRef
from mcproxy.upstream.definition import definitions
from mcproxy.upstream.supervision.tool_cache import OfferFile, offer_of

READS: JsonObject = {"readOnlyHint": True}
TOOLS: dict[str, Json] = {"list_rows": READS, "deleteRow": READS, "drop": None}


def loaded(tools: JsonObject, **section: Json) -> Loaded:
    space: JsonObject = {"servers": ["hub", "new"], "tools": tools, **section}
    servers: JsonObject = {
        "hub": {"command": "c", "tools": {"drop": "deny"}},
        "new": {"command": "d"},
    }
    return load_document({"servers": servers, "namespaces": {"work": space}})


def ran(state: Path, configuration: Loaded, names: Sequence[str] = ("hub",)) -> None:
    """These servers have run before."""
    for name in names:
        listed = [
            Tool(ToolRef(name, tool), {"name": tool, "annotations": hints})
            for tool, hints in TOOLS.items()
        ]
        key = definitions(configuration)[name].key
        OfferFile(state / "tools", name, key).write(offer_of(listed, {}, ""))


@pytest.mark.requirement("tools.verdicts")
def test_namespaces_tells_each_verdict_with_its_place(tmp_path: Path) -> None:
    configuration = loaded({"list_*": "ask"}, ask_for="writes")
    ran(tmp_path, configuration)
    known = known_tools(configuration, tmp_path)
    told = namespaces.run(configuration.config, "work", known).lines
    assert [" ".join(line.split()) for line in told[told.index("  tools") + 1 :]] == [
        'hub.list_rows ask namespaces.work.tools["list_*"]',
        "hub.deleteRow allow default",
        "hub.drop deny servers.hub.tools.drop",
        "not known until the gateway has run them: the tools of new",
    ]
    assert not any("tools" in line for line in namespaces.run(configuration.config, "public").lines)


@pytest.mark.requirement("tools.doubts")
def test_check_doubts_patterns_that_match_nothing(tmp_path: Path) -> None:
    configuration = loaded({"list_*": "ask", "hub.drip": "deny", "new.*": "deny"})
    ran(tmp_path, configuration)
    told = list(doubts(configuration.config, known_tools(configuration, tmp_path)))
    assert told == []  # of ``new`` nothing is known, which may have them
    ran(tmp_path, configuration, ("hub", "new"))
    told = list(doubts(configuration.config, known_tools(configuration, tmp_path)))
    assert told == ['namespaces.work.tools["hub.drip"]: matches no tool']


@pytest.mark.requirement("tools.doubts")
def test_check_doubts_annotations_that_rules_rely_on(tmp_path: Path) -> None:
    configuration = loaded({}, read_only=True)
    ran(tmp_path, configuration)
    told = list(doubts(configuration.config, known_tools(configuration, tmp_path)))
    assert told == ["hub.deleteRow: is annotated readOnlyHint, which its name contradicts"]
