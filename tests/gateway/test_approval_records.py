"""Calls that wait for an approval: how many may, and whose."""

import pytest

from mcproxy.gateway.approval_records import (
    MAX_WAITING,
    ApprovalRecord,
    ApprovalRecords,
    new_record,
)
from mcproxy.store.interface import StoreBounds
from mcproxy.store.local_store import LocalStore


def asked(number: int, caller: str = "alice") -> tuple[str, ApprovalRecord]:
    return f"{caller}-{number}", new_record((caller, "public"), ("s", "t"), "s.t", "a rule")


@pytest.mark.requirement("ask.bounded")
async def test_so_many_calls_of_a_caller_may_wait_and_no_more() -> None:
    async with LocalStore(None, StoreBounds()) as store:
        records = ApprovalRecords(store)
        for number in range(MAX_WAITING):
            assert await records.wait(*asked(number))
        assert await records.wait(*asked(MAX_WAITING)) is None
        assert await records.wait(*asked(0)), "one that waits already still does"
        assert await records.wait(*asked(0, "bob")), "others have room of their own"
        oldest, *_ = await records.listed()
        await records.settle(oldest.id, "refused")
        assert await records.wait(*asked(MAX_WAITING)), "what was settled makes room"
