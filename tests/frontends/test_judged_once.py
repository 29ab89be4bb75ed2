"""A verdict on a request stands for what it was given for, and for nothing else."""

import pytest
from msgspec.structs import replace

from mcproxy.gateway.request import RequestSource
from mcproxy.policy.access import Policy
from mcproxy.types import Caller
from tests.frontends.serving import serving

ADA = RequestSource(Caller("t0k3n"), "locked")
OTHERS = [replace(ADA, caller=Caller("b0b")), replace(ADA, path="small"), replace(ADA, path=None)]


@pytest.mark.requirement("access.once")
async def test_a_verdict_stands_for_the_same_caller_and_name_under_the_same_policy() -> None:
    async with serving() as served:
        judge = served.world.gateway.admit
        verdict = judge(ADA)
        assert judge(replace(ADA, admitted=verdict)) is verdict
        for other in OTHERS:
            assert judge(replace(other, admitted=verdict)) is not verdict
        policy = served.world.policy
        served.world.policy = Policy(policy.endpoints, policy.identities, policy.default)
        served.world.publish("add")
        assert judge(replace(ADA, admitted=verdict)) is not verdict
