"""A verdict on a request stands for what it was given for, and for nothing else."""

import gc
import time

import pytest
from msgspec.structs import replace

from mcproxy.frontends.connections import ConnectionLimits
from mcproxy.frontends.http_request import HttpRequest, RequestHead
from mcproxy.gateway.request import RequestSource
from mcproxy.policy.access import Identities, Policy
from mcproxy.types import Caller
from tests.frontends.serving import request, serving

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


@pytest.mark.requirement("access.once")
async def test_a_connection_hands_its_verdicts_to_no_other_request() -> None:
    async with serving() as served:

        async def status(path: str, token: str | None) -> int:
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            said = await served.http.post(path, json=request("ping"), headers=headers)
            return said.status_code

        before = served.world.policy
        assert [await status("/mcp/locked", "t0k3n") for _ in range(2)] == [200, 200]
        assert await status("/mcp/locked", "wr0ng") == 401
        assert await status("/mcp/locked", None) == 401
        assert await status("/mcp/nowhere", "t0k3n") == 404
        assert await status("/mcp/locked", "t0k3n") == 200
        served.world.policy = replace(before, identities=Identities())
        served.world.publish("add")
        assert await status("/mcp/locked", "t0k3n") == 401
        served.world.policy = before
        served.world.publish("add")
        assert await status("/mcp/locked", "t0k3n") == 200
        assert len(served.connections) == 1


@pytest.mark.requirement("http.idle_tokens")
async def test_a_connection_that_asks_for_nothing_holds_no_token() -> None:
    shown = {"Authorization": "Bearer t0k3n"}

    def held() -> list[object]:
        gc.collect()
        return [one for one in gc.get_objects() if _has(one, b"Bearer t0k3n")]

    async with serving() as served:
        for _ in range(2):
            said = await served.http.post("/mcp/locked", json=request("ping"), headers=shown)
            assert said.status_code == 200
            assert not [one for one in held() if isinstance(one, HttpRequest)]
            assert [one for one in held() if isinstance(one, RequestHead)], "the next may be alike"
            served.connections.sweep(time.monotonic() + ConnectionLimits().head_kept_secs + 1)
            assert held() == []
        assert len(served.connections) == 1


def _has(one: object, header: bytes) -> bool:
    if isinstance(one, HttpRequest):
        return (b"authorization", header) in one._scope["headers"]
    return isinstance(one, RequestHead) and header in one.by_name.values()


@pytest.mark.requirement("access.once")
async def test_a_connection_is_judged_anew_by_other_hosts() -> None:
    async with serving() as served:

        async def status() -> int:
            headers = {"Host": "known.example"}
            return (
                await served.http.post("/mcp", json=request("ping"), headers=headers)
            ).status_code

        before = served.world.policy
        assert await status() == 403
        served.world.policy = replace(before, allowed_hosts=frozenset({"known.example"}))
        served.world.publish("add")
        assert await status() == 200
        served.world.policy = before
        served.world.publish("add")
        assert await status() == 403
        assert len(served.connections) == 1
