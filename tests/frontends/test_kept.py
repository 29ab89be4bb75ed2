"""Nothing of a request is kept once it is over, however it ended: over real sockets.

Whatever a task, its context or a table keeps of a request shows as its ``Exchange``.
"""

import asyncio
import gc
from collections.abc import Awaitable, Callable

import pytest

from mcproxy.exchange import Exchange
from mcproxy.types import Json, JsonObject
from tests.frontends.serving import BOTH, BOUND_SECS, Served, events, request, serving
from tests.frontends.test_stateless import META, headers

MARK = "vendor.example/mark"
ASKABLE: JsonObject = {**META, "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}}
Ending = Callable[[Served], Awaitable[None]]


def call(code: str, **meta: Json) -> JsonObject:
    """A call of ``execute`` whose ``_meta`` can be found again."""
    params: JsonObject = {"name": "execute", "arguments": {"code": code}}
    return request("tools/call", {**params, "_meta": {MARK: 1, **meta}})


async def stateless_left(served: Served) -> None:
    await leave(served, call("wait", **ASKABLE), headers("tools/call", "execute"))


async def stateless_left_unaskable(served: Served) -> None:
    await leave(served, call("wait", **META), headers("tools/call", "execute"))


async def stateless_answered(served: Served) -> None:
    send = headers("tools/call", "execute")
    body = call("say 1", **ASKABLE)
    assert (await served.http.post("/mcp", json=body, headers=send)).status_code == 200


async def session_left(served: Served) -> None:
    await leave(served, call("wait"), await served.open())


async def session_cancelled(served: Served) -> None:
    send = await served.open()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(served.http.post("/mcp", json=call("wait"), headers=send))
        await served.scripts.waiting.wait()
        note = request("notifications/cancelled", {"requestId": 1})
        del note["id"]
        await served.http.post("/mcp", json=note, headers=send)


async def session_streamed(served: Served) -> None:
    """The stream is kept for a client that lost its end; the request is not."""
    send = await served.open()
    body = call("say 2", progressToken="t")
    async with served.http.stream("POST", "/mcp", json=body, headers=send) as response:
        assert "result" in [event async for event in events(response)][-1].message


async def plain_left(served: Served) -> None:
    await leave(served, call("wait"), {}, "/message")


async def leave(served: Served, body: JsonObject, send: dict[str, str], path: str = "/mcp") -> None:
    """Close the connection while the request is being answered."""
    async with asyncio.TaskGroup() as tasks:
        post = served.http.post(path, json=body, headers={"Accept": BOTH, **send})
        calling = tasks.create_task(post)
        await served.scripts.waiting.wait()
        calling.cancel()
    await served.scripts.cancelled.wait()


@pytest.mark.requirement("sessions.nothing_kept")
@pytest.mark.parametrize(
    "ending",
    [
        stateless_left,
        stateless_left_unaskable,
        stateless_answered,
        session_left,
        session_cancelled,
        session_streamed,
        plain_left,
    ],
)
async def test_nothing_of_a_request_is_kept(ending: Ending) -> None:
    async with asyncio.timeout(BOUND_SECS), serving() as served:
        await ending(served)
        while kept():  # the last steps of its tasks are yet to come
            await served.http.get("/health")


def kept() -> list[Exchange]:
    gc.collect()
    found = (each for each in gc.get_objects() if isinstance(each, Exchange))
    return [each for each in found if MARK in each.meta]
