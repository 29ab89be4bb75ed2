"""Whose a server's questions and words are, where several clients use it: real servers, in cases
that clients cannot bring about at will. ``tests/e2e/test_whose.py`` has the table of all ways."""

import asyncio
import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from mcproxy import mcp
from mcproxy.errors import RpcError
from mcproxy.exchange import NOBODY, Tenant
from mcproxy.types import JsonObject, ToolRef
from mcproxy.upstream.protocol.relay import answers
from tests.upstream.fleets import BEHIND, Watched, running, server
from tests.upstream.protocol.test_session import WAIT_SECS, Client, calling, named, said
from tests.upstream.remote.remotes import listening

OVERLAPPING = server("overlapping.py")
ADA, BOB = Tenant(caller="ada"), Tenant(caller="bob")


async def meet(
    fleet: Watched, client: Client, tenant: Tenant, method: str = "tools/call", **given: str
) -> str:
    """Let a request meet another one; what the server says to it."""
    with calling(client, tenant=tenant):
        params: JsonObject = {"name": "meet", "arguments": {**given}}
        raw = await fleet.fleet.upstream.request(BEHIND.get(), "it", method, params)
    return str(json.loads(raw)["content"][0]["text"])


@pytest.mark.requirement("tenancy.given_up")
async def test_a_late_question_of_a_cancelled_call_reaches_nobody(tmp_path: Path) -> None:
    ada, bob = Client(named), Client(named)
    async with asyncio.timeout(WAIT_SECS), running(it=OVERLAPPING) as fleet:
        where = {"kind": "elicitation", "folder": str(tmp_path)}
        async with asyncio.TaskGroup() as tasks:
            call = tasks.create_task(meet(fleet, ada, ADA, me="ada", other="bob", **where))
            await until_there(tmp_path / "ada")
            call.cancel()
        # The server goes on with ada's call once bob's is under way, and asks for both.
        refused = await meet(fleet, bob, BOB, me="bob", other="ada", **where)
        assert "passed on to nobody" in refused
        assert ada.asked == bob.asked == []
        # It answers ada's call late: what it asks from then on is bob's.
        answers: Sequence[str] = [refused]
        for attempt in itertools.count():
            if all("Ada" in answer for answer in answers):
                break
            folder = tmp_path / f"later-{attempt}"
            folder.mkdir()
            later = {"kind": "elicitation", "folder": str(folder)}
            answers = await asyncio.gather(
                meet(fleet, bob, BOB, me="one", other="two", **later),
                meet(fleet, bob, BOB, me="two", other="one", **later),
            )
        assert ada.asked == []


@pytest.mark.requirement("tenancy.own_only")
@pytest.mark.parametrize("method", ["prompts/get", "resources/read", "completion/complete"])
async def test_any_request_of_another_client_counts(tmp_path: Path, method: str) -> None:
    ada, bob = Client(named), Client(named)
    async with asyncio.timeout(WAIT_SECS), running(it=OVERLAPPING) as fleet:
        where = {"kind": "roots", "folder": str(tmp_path)}
        answers = await asyncio.gather(
            meet(fleet, ada, ADA, method, me="ada", other="bob", **where),
            meet(fleet, bob, BOB, me="bob", other="ada", **where),
        )
        assert all("passed on to nobody" in answer for answer in answers)
        assert ada.asked == bob.asked == []


@pytest.mark.requirement("tenancy.own_only")
async def test_that_an_elicitation_is_complete_is_told_to_who_was_asked(tmp_path: Path) -> None:
    ada, bob = Client(named), Client(named)
    with listening("overlapping.py", "--http") as url:
        async with asyncio.timeout(WAIT_SECS), running(it={"url": url}) as fleet:
            where = {"kind": "url", "folder": str(tmp_path)}
            await asyncio.gather(
                meet(fleet, ada, ADA, me="ada", other="bob", **where),
                meet(fleet, bob, BOB, me="bob", other="ada", **where),
            )
    for client, name in ((ada, "ada"), (bob, "bob")):
        complete: JsonObject = {"elicitationId": name}
        assert client.heard == [("notifications/elicitation/complete", complete)]


@pytest.mark.requirement("tenancy.given_up")
async def test_a_question_of_a_cancelled_call_is_answered_with_an_error() -> None:
    asked = asyncio.Event()

    async def think(method: str) -> JsonObject:
        asked.set()
        await asyncio.Event().wait()
        return {}

    async with asyncio.timeout(WAIT_SECS), running(asker=server("asker.py")) as fleet:
        with calling(Client(think), tenant=ADA):
            async with asyncio.TaskGroup() as tasks:
                call = tasks.create_task(
                    fleet.fleet.call(BEHIND.get(), ToolRef("asker", "elicit"), {})
                )
                await asked.wait()
                call.cancel()
        # The server answers ada's call when its question is answered: then it is free for bob.
        with calling(Client(named), tenant=BOB):
            await said(fleet, "meta")
            assert await said(fleet, "elicit") == await named("")


async def until_there(path: Path) -> None:
    """Return once a file is there."""
    while not path.exists():  # noqa: ASYNC110, ASYNC240  nobody tells of it
        await asyncio.sleep(0.01)


@pytest.mark.requirement("tasks.awaited")
async def test_what_a_server_wants_at_once_is_asked_at_once() -> None:
    """And where one of it is refused, a person need not go on with the rest."""
    both, withdrawn = asyncio.Barrier(2), asyncio.Event()

    async def ask(method: str, params: JsonObject) -> JsonObject:
        await both.wait()
        if params.get("refuse"):
            raise RpcError(RpcError.INVALID_REQUEST, "not this one")
        if params.get("think"):
            try:
                await asyncio.Event().wait()
            finally:
                withdrawn.set()
        return {"action": "accept", **params}

    def wanted(**params: JsonObject) -> JsonObject:
        return {key: {"method": mcp.ELICIT, "params": one} for key, one in params.items()}

    exchange = replace(NOBODY, ask=ask)
    given = await answers(exchange, wanted(a={"n": 1}, b={"n": 2}))
    assert given == {"a": {"action": "accept", "n": 1}, "b": {"action": "accept", "n": 2}}
    with pytest.raises(RpcError, match="not this one"):
        await answers(exchange, wanted(a={"think": True}, b={"refuse": True}))
    assert withdrawn.is_set()
    with pytest.raises(RpcError, match="unknown input: roots/none"):
        await answers(exchange, {"a": {"method": "roots/none"}})
