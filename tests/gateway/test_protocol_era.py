"""Results of servers, fitted to the client's era, and the eras themselves."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcproxy.errors import RpcError
from mcproxy.gateway.request import Call

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), VALUES, max_size=4), st.sampled_from(["", " ", "\n  "]))
def test_results_keep_all_their_members(result: dict[str, object], space: str) -> None:
    raw = f"{space}{json.dumps(result)}{space}".encode()
    assert Call({}, modern=False).passed(raw) == raw
    passed = json.loads(Call({}, modern=True).passed(raw, cacheable=True))
    added = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
    assert passed == (result if result.get("resultType") is not None else added | result)


def test_results_of_the_same_era_are_the_same_bytes() -> None:
    raw = b'{ "resultType" : "complete", "x": 1.0 }'
    assert Call({}, modern=True).passed(raw, cacheable=True) is raw


@pytest.mark.parametrize("raw", [b"[]", b"1", b"{", b""])
def test_results_that_are_no_objects(raw: bytes) -> None:
    with pytest.raises(RpcError, match="no object"):
        Call({}, modern=True).passed(raw)
