"""Whether a call finds an instance to serve it: the table."""

from collections.abc import Sequence

import pytest

from mcproxy.upstream.instances import Place, Presence, place


@pytest.mark.requirement("affinity.limit")
@pytest.mark.parametrize(
    ("own", "others", "expected"),
    [
        (None, [], "serve"),
        (None, ["up"], "serve"),
        (None, ["up", "up"], "refuse"),
        (None, ["up", "asleep", "asleep"], "serve"),
        (None, ["up", "leaving"], "wait"),
        (None, ["up", "up", "leaving"], "wait"),  # the limit was lowered
        (None, ["leaving", "leaving"], "wait"),
        ("up", ["up"], "serve"),
        ("up", ["up", "up"], "serve"),
        ("leaving", ["up"], "serve"),  # its place is kept for it
        ("asleep", ["up"], "serve"),
        ("asleep", ["up", "up"], "refuse"),
        ("asleep", ["up", "leaving"], "wait"),
    ],
)
def test_what_becomes_of_a_call(
    own: Presence | None, others: Sequence[Presence], expected: Place
) -> None:
    assert place(own, others, limit=2) == expected
