"""Which tools may be used: the rules as a table, and what holds for all rules."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcproxy.config.load import load_document
from mcproxy.policy.access import policy_of
from mcproxy.policy.tool_rules import STRICTNESS, Ruling, decide
from mcproxy.types import Json, JsonObject

READS: JsonObject = {"readOnlyHint": True}
WRITES: JsonObject = {"readOnlyHint": False}
ADDS: JsonObject = {"readOnlyHint": False, "destructiveHint": False}


def ruling(
    namespaces: JsonObject,
    tool: str,
    *,
    own: JsonObject | None = None,
    annotations: Json = None,
    within: str = "work",
) -> Ruling:
    document: JsonObject = {
        "servers": {"hub": {"command": "c", "tools": own or {}}, "hub.eu": {"command": "c"}},
        "namespaces": namespaces,
        "groups": {"all": ["work"]},
    }
    rules = policy_of(load_document(document).config).endpoints[within].through("hub").tools
    return decide(rules, "hub", tool, annotations)


def work(**section: Json) -> JsonObject:
    return {"work": {"servers": ["hub"], **section}}


def tools(**patterns: str) -> JsonObject:
    return work(tools={**patterns})


# A tool, the server's own rules, the namespace's, the verdict.
TABLE: tuple[tuple[str, dict[str, Json], dict[str, Json], str], ...] = (
    ("get", {}, {}, "allow"),
    ("get", {"*": "deny", "get": "allow"}, {}, "allow"),
    ("drop", {"*": "deny", "get": "allow"}, {}, "deny"),
    ("drop", {"drop": "deny"}, {"drop": "allow", "hub.drop": "allow"}, "deny"),
    ("drop", {"dr*": "ask"}, {"*": "allow"}, "ask"),
    ("drop", {"dr*": "ask"}, {"drop": "allow"}, "allow"),
    ("drop", {"dr*": "allow"}, {"*op": "ask", "dr*": "ask"}, "ask"),
    ("drop_all", {}, {"drop_*": "allow", "drop_*l": "deny"}, "deny"),
    ("drop_all", {}, {"hub.*": "allow", "drop_all": "deny"}, "deny"),
    ("drop_all", {}, {"hub.drop_*": "deny", "drop_al*": "allow"}, "deny"),
    ("drop_all", {}, {"drop_[a-z]ll": "deny"}, "deny"),
    ("drop_1ll", {}, {"drop_[a-z]ll": "deny"}, "allow"),
    ("Drop", {}, {"drop": "deny"}, "allow"),
    ("repos.drop", {}, {"repos.drop": "deny"}, "deny"),
    ("repos.drop", {}, {"hub.repos.*": "deny"}, "deny"),
    ("drop", {}, {"hu*": "allow", "hub.eu.drop": "allow", "*": "deny"}, "deny"),
    ("eu.drop", {}, {"hub.eu.drop": "deny"}, "deny"),
)


@pytest.mark.requirement("tools.rules")
@pytest.mark.parametrize(("tool", "own", "of_namespace", "verdict"), TABLE)
def test_the_most_specific_pattern_counts(
    tool: str, own: dict[str, Json], of_namespace: dict[str, Json], verdict: str
) -> None:
    assert ruling(work(tools=of_namespace), tool, own=own).verdict == verdict


@pytest.mark.requirement("tools.rules")
def test_a_ruling_names_its_place() -> None:
    assert ruling(tools(get="deny"), "get").source == "namespaces.work.tools.get"
    assert ruling({**work()}, "get", own={"g*": "ask"}).source == 'servers.hub.tools["g*"]'
    assert ruling(work(read_only=True), "get").source == "namespaces.work.read_only"
    assert ruling(work(), "get").source == "default"


@pytest.mark.requirement("tools.annotations")
@pytest.mark.parametrize(
    ("section", "annotations", "verdict"),
    [
        ({"read_only": True}, READS, "allow"),
        ({"read_only": True}, WRITES, "deny"),
        ({"read_only": True}, None, "deny"),
        ({"read_only": True}, {"readOnlyHint": "yes"}, "deny"),
        ({"read_only": True, "tools": {"do": "allow"}}, None, "deny"),
        ({"ask_for": "writes"}, READS, "allow"),
        ({"ask_for": "writes"}, ADDS, "ask"),
        ({"ask_for": "writes"}, ["odd"], "ask"),
        ({"ask_for": "destructive"}, ADDS, "allow"),
        ({"ask_for": "destructive"}, WRITES, "ask"),
        ({"ask_for": "destructive"}, None, "ask"),
        ({"ask_for": "destructive", "tools": {"d*": "allow"}}, None, "allow"),
        ({"ask_for": "nothing"}, None, "allow"),
    ],
)
def test_annotations_count(section: dict[str, Json], annotations: Json, verdict: str) -> None:
    assert ruling(work(**section), "do", annotations=annotations).verdict == verdict


@pytest.mark.requirement("tools.inherited")
def test_a_child_has_its_parents_rules_beside_its_own() -> None:
    parent: JsonObject = {"tools": {"d*": "deny", "get": "ask"}, "ask_for": "writes"}
    child: JsonObject = {
        "extends": "base",
        "servers": ["hub"],
        "tools": {"d*": "allow", "get*": "deny"},
        "ask_for": "nothing",
    }
    spaces: JsonObject = {"base": parent, "work": child}
    assert ruling(spaces, "drop").verdict == "deny"  # the stricter of two for one pattern
    assert ruling(spaces, "get").verdict == "ask"  # the more specific one
    assert ruling(spaces, "getter").verdict == "deny"
    assert ruling(spaces, "other") == Ruling("ask", "namespaces.base.ask_for")
    locked: JsonObject = {"base": {"read_only": True}, "work": {**child, "read_only": False}}
    assert ruling(locked, "other").verdict == "deny"


@pytest.mark.requirement("tools.inherited")
def test_a_group_has_the_rules_of_the_member_through_which_a_server_is_reached() -> None:
    assert ruling(tools(get="deny"), "get", within="all").verdict == "deny"


NAMES = st.sampled_from(["get", "drop", "drop_all", "repos.get"])
PATTERNS = st.sampled_from(
    ["*", "d*", "drop", "drop*", "*op", "hub.*", "hub.drop", "get", "?et", "[dg]*", "repos.*"]
)
RULES = st.dictionaries(PATTERNS, st.sampled_from(STRICTNESS), max_size=5)
HINTS = st.sampled_from([None, READS, WRITES, ADDS])
SECTIONS = st.fixed_dictionaries(
    {
        "tools": RULES,
        "read_only": st.booleans(),
        "ask_for": st.sampled_from(["nothing", "destructive", "writes"]),
    }
)


def strictness(found: Ruling) -> int:
    return STRICTNESS.index(found.verdict)


@pytest.mark.requirement("tools.monotone")
@given(SECTIONS, RULES, NAMES, HINTS)
def test_what_a_server_denies_no_namespace_opens(
    section: dict[str, Json], own: dict[str, Json], tool: str, hints: Json
) -> None:
    alone = ruling(work(), tool, own=own, annotations=hints)
    if alone.verdict == "deny":
        assert ruling(work(**section), tool, own=own, annotations=hints).verdict == "deny"


@pytest.mark.requirement("tools.monotone")
@given(SECTIONS, SECTIONS, NAMES, HINTS)
def test_no_parents_rule_is_widened_by_a_childs_of_the_same_precision(
    parent: dict[str, Json], child: dict[str, Json], tool: str, hints: Json
) -> None:
    def of(section: Mapping[str, Json]) -> Ruling:
        spaces: JsonObject = {
            "base": parent,
            "work": {"extends": "base", "servers": ["hub"], **section},
        }
        return ruling(spaces, tool, annotations=hints)

    same = parent["tools"]
    assert isinstance(same, dict)
    widened: dict[str, Json] = {**child, "tools": dict.fromkeys(same, "allow")}
    assert strictness(of(widened)) >= strictness(of({}))


@pytest.mark.requirement("tools.monotone")
@given(SECTIONS, RULES, NAMES, HINTS, PATTERNS)
def test_a_stricter_word_for_a_pattern_opens_nothing(
    section: dict[str, Json], own: dict[str, Json], tool: str, hints: Json, pattern: str
) -> None:
    rules = section["tools"]
    assert isinstance(rules, dict)
    before = ruling(work(**section), tool, own=own, annotations=hints)
    if rules.get(pattern) is None:
        return
    stricter = {**section, "tools": {**rules, pattern: "deny"}}
    assert strictness(ruling(work(**stricter), tool, own=own, annotations=hints)) >= strictness(
        before
    )
