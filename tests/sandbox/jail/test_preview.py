"""Results made to fit: blocks taken out, large values cut to a preview that is valid JSON."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcproxy.sandbox.jail.script.preview import (
    MAX_PREVIEW_BYTES,
    encoded,
    preview,
    take_blocks,
)
from mcproxy.types import Json, JsonObject

IMAGE: JsonObject = {"type": "image", "data": "aGk=", "mimeType": "image/png"}
LINK: JsonObject = {"type": "resource", "resource": {"uri": "note://1", "text": "hi"}}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=200),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(), inner, max_size=20),
    max_leaves=200,
)
LARGE: dict[str, Json] = {
    "one text": "x" * 5_000_000,
    "numbers": list(range(700_000)),
    "rows": [{"id": n, "title": f"Row {n}", "body": "text " * 20} for n in range(40_000)],
    "many keys": {f"key {n}": n for n in range(100_000)},
    "long keys": {"k" * 10_000 + str(n): n for n in range(100)},
    "wide at every level": [[[[[["x"] * 20] * 20] * 20] * 20] * 20] * 20,
    "nothing but quotes": ['"\\\n' * 1000] * 1000,
    "a long number": 10**4200,
}


def test_blocks_leave_a_note_of_where_they_were() -> None:
    whole: Json = {"shots": [IMAGE, IMAGE], "page": LINK, "n": 1}
    value, blocks = take_blocks(whole, encoded(whole))
    assert blocks == [IMAGE, IMAGE, LINK]
    assert value == {
        "shots": [
            {"type": "image", "mimeType": "image/png", "content_block": 1},
            {"type": "image", "mimeType": "image/png", "content_block": 2},
        ],
        "page": {"type": "resource", "content_block": 3},
        "n": 1,
    }


@given(JSON)
def test_what_is_no_block_stays(value: Json) -> None:
    assert take_blocks(value, encoded(value)) == (value, [])


@given(JSON, st.integers(100, 5000))
def test_a_preview_keeps_its_limit(value: Json, limit: int) -> None:
    shown = preview(value, limit)
    assert len(encoded(shown)) <= limit
    assert json.loads(encoded(shown)) == shown


@pytest.mark.requirement("execute.preview")
@pytest.mark.parametrize("name", LARGE)
def test_a_preview_of_much_is_small_and_says_something(name: str) -> None:
    assert 10 < len(encoded(preview(LARGE[name]))) <= MAX_PREVIEW_BYTES


@pytest.mark.requirement("execute.preview")
def test_a_preview_shows_heads_and_real_lengths() -> None:
    rows = preview(LARGE["rows"])
    assert isinstance(rows, list)
    assert rows[-1] == "… (40000 items)"
    assert rows[0] == {"id": 0, "title": "Row 0", "body": "text " * 20}
    texts = preview(["x" * 10_000] * 3)
    assert isinstance(texts, list)
    assert all("… (10000 characters)" in str(text) for text in texts)
    keys = preview(LARGE["many keys"])
    assert isinstance(keys, dict)
    assert keys["…"] == "100000 members"
    assert keys["key 0"] == 0
