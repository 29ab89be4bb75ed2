"""Results made to fit: blocks taken out, large values cut to a preview that is valid JSON."""

import json

from hypothesis import given
from hypothesis import strategies as st

from mcproxy.gateway.metatools import preview, take_blocks
from mcproxy.types import Json, JsonObject

IMAGE: JsonObject = {"type": "image", "data": "aGk=", "mimeType": "image/png"}
LINK: JsonObject = {"type": "resource", "resource": {"uri": "note://1", "text": "hi"}}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | st.text(max_size=200),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(), inner, max_size=20),
    max_leaves=200,
)


def test_blocks_leave_a_note_of_where_they_were() -> None:
    value, blocks = take_blocks({"shots": [IMAGE, IMAGE], "page": LINK, "n": 1})
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
    assert take_blocks(value) == (value, [])


@given(JSON, st.integers(60, 5000))
def test_a_preview_keeps_its_limit(value: Json, limit: int) -> None:
    shown, size = preview(value, limit)
    real = len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())
    if size is None:
        assert shown == value
    else:
        assert size > limit
        assert abs(size - real) <= real  # escapes differ between encoders
        assert len(json.dumps(shown, ensure_ascii=False, separators=(",", ":"))) <= limit


def test_a_preview_shows_heads_and_real_lengths() -> None:
    shown, size = preview(["x" * 10_000] * 3, 2000)
    assert size == 30_010
    assert isinstance(shown, list)
    assert all("… (10000 characters)" in str(item) for item in shown)
