"""Calls as a worker says that they are written: nothing that it sends breaks the gateway."""

from hypothesis import given
from hypothesis import strategies as st

from mcproxy.gateway.arguments import MAX_FAULTS, faults_of_written
from mcproxy.manifest.model import build
from mcproxy.types import Json, ServerView, Tool, ToolRef

SCHEMA: Json = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
MANIFEST = build(
    [
        ServerView(
            "s", "ready", tools=(Tool(ToolRef("s", "t"), {"name": "t", "inputSchema": SCHEMA}),)
        )
    ]
)

NAMES = st.sampled_from(["s", "t", "S", "", "a"]) | st.text(max_size=20)
LEAVES = st.none() | st.booleans() | st.integers() | NAMES
ANY = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=3)
)
VALUES = st.lists(st.sampled_from(["integer", "string", "", "odd"]) | ANY, max_size=4)
CALLS = st.lists(
    st.tuples(
        st.integers(),
        NAMES,
        NAMES,
        st.dictionaries(NAMES, VALUES, max_size=3),
        st.booleans(),
        st.booleans(),
    ).map(list)
    | ANY,
    max_size=5,
)


@given(CALLS | ANY)
def test_whatever_is_sent_has_faults_or_none(calls: Json) -> None:
    faults = faults_of_written(calls, MANIFEST)
    assert isinstance(faults, list)
    assert len(faults) <= MAX_FAULTS


def test_very_many_faults_are_looked_for_no_further_than_they_are_told() -> None:
    many: Json = {f"x{number}": ["integer", "1"] for number in range(5000)}
    calls: Json = [[line, "s", "t", many, True, False] for line in range(500)]
    faults = faults_of_written(calls, MANIFEST)
    assert isinstance(faults, list)
    assert len(faults) == MAX_FAULTS
    assert all(len(str(fault)) < 1000 for fault in faults)


def test_servers_and_tools_are_found_in_any_form() -> None:
    assert faults_of_written([[1, "S", "T", {"a": ["integer", "1"]}, True, False]], MANIFEST) == []
