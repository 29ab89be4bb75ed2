"""Signs of life, and how they and what servers tell make one sequence that grows."""

import asyncio

import pytest
from msgspec.structs import replace

from mcproxy import mcp
from mcproxy.exchange import NOBODY, Exchange
from mcproxy.gateway.progress import told_of_progress
from mcproxy.types import Json, JsonObject

BOUND_SECS = 20
NEVER_SECS = 1e6


class Heard:
    """A client that asked for progress with the token ``t``; ``enough`` once it heard so much."""

    def __init__(self, wanted: int = 0) -> None:
        self.notes: list[JsonObject] = []
        self.enough = asyncio.Event()
        self._wanted = wanted

    @property
    def exchange(self) -> Exchange:
        return replace(NOBODY, notify=self._notify, meta={mcp.META_PROGRESS_TOKEN: "t"})

    def _notify(self, method: str, params: JsonObject) -> None:
        assert method == mcp.PROGRESS
        assert params[mcp.META_PROGRESS_TOKEN] == "t"
        self.notes.append(params)
        if len(self.notes) == self._wanted:
            self.enough.set()

    @property
    def values(self) -> list[float]:
        return [float(str(note["progress"])) for note in self.notes]


@pytest.mark.requirement("progress.silent")
@pytest.mark.parametrize(
    ("told", "heard"),
    [
        ([1, 2, 3], [1, 2, 3]),
        ([0, 0.5], [0, 0.5]),
        ([-1, 0], [-1, 0]),
        ([1, 1, 0, 2], [1, 1.001, 1.002, 2]),
        (["odd", None, 5], [0, 0.001, 5]),
        ([1e17, 1e17], [1e17, 1.0000000000000002e17]),
    ],
)
async def test_what_a_server_tells_grows(told: list[Json], heard: list[float]) -> None:
    client = Heard()
    with told_of_progress(client.exchange, NEVER_SECS, script=False) as exchange:
        for value in told:
            exchange.notify(mcp.PROGRESS, {"progressToken": "t", "progress": value, "total": 9})
    assert client.values == heard
    assert all(note["total"] == 9 for note in client.notes)


@pytest.mark.requirement("mcp.progress")
@pytest.mark.parametrize("script", [True, False])
async def test_signs_of_life_grow_and_stop_with_the_work(script: bool) -> None:
    client = Heard(5)
    async with asyncio.timeout(BOUND_SECS):
        with told_of_progress(client.exchange, 0.005, script=script) as exchange:
            for _ in range(2):  # of two calls of a script, perhaps in the same moment
                exchange.notify(mcp.PROGRESS, {"progress": 1, "total": 4, "message": "a quarter"})
            await client.enough.wait()
        after = len(client.notes)
        await asyncio.sleep(0.02)
    assert len(client.notes) == after == 5
    assert client.values == sorted(set(client.values))
    assert [note["message"] for note in client.notes[:2]] == ["a quarter"] * 2
    totals = {note.get("total") for note in client.notes}
    assert totals == ({None} if script else {4})


async def test_other_notifications_pass_as_they_are() -> None:
    heard: list[tuple[str, JsonObject]] = []
    exchange = replace(
        NOBODY,
        notify=lambda method, params: heard.append((method, params)),
        meta={mcp.META_PROGRESS_TOKEN: "t"},
    )
    with told_of_progress(exchange, NEVER_SECS, script=False) as told:
        told.notify(mcp.LOG_MESSAGE, {"level": "info"})
    assert heard == [(mcp.LOG_MESSAGE, {"level": "info"})]
