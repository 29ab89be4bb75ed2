"""Whose a message may be beside those whose requests are under way, as time goes by."""

import pytest

from mcproxy.exchange import Tenant
from mcproxy.upstream.protocol.relay import (
    LAG_SECS,
    MAX_KEPT,
    MAY_WORK_SECS,
    PossibleOwners,
)

ADA, BOB = Tenant(caller="ada"), Tenant(caller="bob")


@pytest.mark.requirement("tenancy.given_up")
def test_a_request_that_was_given_up_counts_until_it_is_answered_or_old() -> None:
    owners = PossibleOwners()
    assert owners.only(BOB, 0)
    owners.gave_up(1, ADA, 0)
    owners.gave_up(2, ADA, 1)
    assert owners.only(ADA, 1)
    assert not owners.only(BOB, 1)
    owners.answered_late(1)
    assert not owners.only(BOB, MAY_WORK_SECS)
    assert owners.only(BOB, MAY_WORK_SECS + 1)
    owners.gave_up(3, ADA, 700)
    owners.answered_late(3)
    assert owners.only(BOB, 700)


def test_what_is_answered_counts_no_longer_where_there_is_one_stream() -> None:
    owners = PossibleOwners()
    owners.answered(ADA, 0)
    assert owners.only(BOB, 0)


def test_what_is_answered_counts_a_little_longer_where_there_are_several() -> None:
    owners = PossibleOwners(LAG_SECS)
    owners.answered(ADA, 0)
    owners.answered(ADA, 1)
    assert not owners.only(BOB, LAG_SECS)
    assert owners.only(ADA, LAG_SECS)
    assert owners.only(BOB, LAG_SECS + 1)


@pytest.mark.parametrize("given_up", [True, False])
def test_beyond_the_bound_they_may_be_anybodys(*, given_up: bool) -> None:
    owners = PossibleOwners(LAG_SECS)
    tenants = [Tenant(caller=str(number)) for number in range(MAX_KEPT + 1)]
    for number, tenant in enumerate(tenants):
        if given_up:
            owners.gave_up(number, tenant, 0)
        else:
            owners.answered(tenant, 0)
    if given_up:
        for number in range(MAX_KEPT + 1):
            owners.answered_late(number)
    limit = MAY_WORK_SECS if given_up else LAG_SECS
    assert not owners.only(ADA, limit - 1)
    assert owners.only(ADA, limit)
