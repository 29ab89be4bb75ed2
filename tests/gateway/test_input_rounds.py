"""Requests of stateless clients that take several rounds."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager

import pytest

from mcproxy.errors import RpcError
from mcproxy.exchange import Exchange
from mcproxy.gateway import input_rounds
from mcproxy.gateway.input_rounds import InputRounds, Work
from mcproxy.gateway.request import Call
from mcproxy.gateway.suspended_call import SuspendedCall
from mcproxy.types import Json, JsonObject

WAIT_SECS = 10.0
ADA = ("ada", "public", "tools/call", "greet")
BOB = ("bob", "public", "tools/call", "greet")


class Client:
    """A stateless client: the answers it was given, and what it heard on the way."""

    def __init__(self, rounds: InputRounds, *capabilities: str) -> None:
        self._rounds = rounds
        self._capabilities: JsonObject = {name: {} for name in capabilities}
        self.heard: list[tuple[str, JsonObject]] = []

    async def send(
        self,
        work: Work,
        purpose: tuple[str, ...] = ADA,
        meta: Mapping[str, Json] | None = None,
        **params: Json,
    ) -> JsonObject:
        async def never(method: str, params: JsonObject) -> JsonObject:
            raise AssertionError("a stateless client is never asked directly")

        exchange = Exchange(
            lambda method, params: self.heard.append((method, params)),
            never,
            meta=meta or {},
            capabilities=self._capabilities,
        )
        call = Call({"name": "greet", **params}, modern=True)
        raw = await self._rounds.answer(call, purpose, exchange, work)
        result: JsonObject = json.loads(raw)
        return result


@asynccontextmanager
async def client(*capabilities: str, lifetime_secs: float = 600) -> AsyncIterator[Client]:
    rounds = InputRounds(lifetime_secs)
    async with rounds.running():
        yield Client(rounds, *capabilities)


def result(value: Json) -> bytes:
    return json.dumps({"resultType": "complete", "said": value}).encode()


async def greet(exchange: Exchange) -> bytes:
    """Ask for two names at once, with progress on either side of it."""
    exchange.notify("notifications/progress", {"progressToken": "t1", "progress": 1})
    one, two = await asyncio.gather(
        exchange.ask("elicitation/create", {"n": 1}), exchange.ask("elicitation/create", {"n": 2})
    )
    exchange.notify("notifications/progress", {"progressToken": "t1", "progress": 2})
    return result([one["content"], two["content"]])


async def ask_once(exchange: Exchange) -> bytes:
    return result(await exchange.ask("elicitation/create", {}))


def inputs(answer: JsonObject) -> JsonObject:
    assert answer["resultType"] == "input_required"
    requests = answer["inputRequests"]
    assert isinstance(requests, dict)
    return requests


@pytest.mark.requirement("rounds.resume")
async def test_a_call_goes_on_when_its_client_comes_back() -> None:
    async with client("elicitation") as ada:
        first = await ada.send(greet, meta={"progressToken": "t1"})
        assert list(inputs(first).values()) == [
            {"method": "elicitation/create", "params": {"n": 1}},
            {"method": "elicitation/create", "params": {"n": 2}},
        ]
        one, two = inputs(first)
        half: JsonObject = {
            one: {"content": "x"},
            "unknown": {"content": "ignored"},
            two: "no object",
        }
        second = await ada.send(greet, requestState=first["requestState"], inputResponses=half)
        assert list(inputs(second)) == [two]  # what was left out is asked again
        assert second["requestState"] != first["requestState"]
        third = await ada.send(
            greet,
            meta={"progressToken": "t3"},
            requestState=second["requestState"],
            inputResponses={two: {"content": "y"}},
        )
        assert third == {"resultType": "complete", "said": ["x", "y"]}
        assert [params for _, params in ada.heard] == [
            {"progressToken": "t1", "progress": 1},
            {"progressToken": "t3", "progress": 2},  # the token of the request that waits
        ]


@pytest.mark.requirement("rounds.sealed")
async def test_a_state_works_once_for_its_owner_and_request() -> None:
    async with client("elicitation") as ada:
        first = await ada.send(ask_once)
        state = str(first["requestState"])
        answers: JsonObject = {key: {"content": "x"} for key in inputs(first)}
        others: list[tuple[tuple[str, ...], str, JsonObject | None]] = [
            (BOB, state, None),
            ((*ADA[:3], "other"), state, None),
            (ADA, state, {"changed": True}),
            (ADA, state[:-4] + "AAAA", None),
            (ADA, "made up", None),
        ]
        for purpose, given, arguments in others:
            with pytest.raises(RpcError, match="requestState is not valid") as refused:
                await ada.send(
                    ask_once,
                    purpose,
                    requestState=given,
                    inputResponses=answers,
                    arguments=arguments,
                )
            assert refused.value.code == RpcError.INVALID_PARAMS
        done = await ada.send(ask_once, requestState=state, inputResponses=answers)
        assert done["said"] == {"content": "x"}
        with pytest.raises(RpcError, match="it was used already"):
            await ada.send(ask_once, requestState=state, inputResponses=answers)


@pytest.mark.requirement("rounds.server_state")
async def test_the_state_of_a_server_goes_through_sealed() -> None:
    seen: list[Mapping[str, Json] | None] = []

    async def server(exchange: Exchange) -> bytes:
        seen.append(exchange.retry)
        if exchange.retry:
            return result("done")
        wanted: JsonObject = {"who": {"method": "roots/list", "params": {}}}
        return json.dumps(
            {"resultType": "input_required", "inputRequests": wanted, "requestState": "mine"}
        ).encode()

    async with client() as ada:
        first = await ada.send(server)
        assert list(inputs(first)) == ["who"]
        assert first["requestState"] != "mine"
        with pytest.raises(RpcError, match="requestState is not valid"):
            await ada.send(server, BOB, requestState=first["requestState"])
        responses: JsonObject = {"who": {"roots": []}}
        await ada.send(server, requestState=first["requestState"], inputResponses=responses)
        assert seen == [{}, {"inputResponses": responses, "requestState": "mine"}]


@pytest.mark.requirement("rounds.lost")
async def test_a_call_whose_client_does_not_come_back_is_cancelled() -> None:
    ended = asyncio.Event()

    async def work(exchange: Exchange) -> bytes:
        try:
            return await ask_once(exchange)
        finally:
            ended.set()

    async with client("elicitation", lifetime_secs=0.05) as ada:
        first = await ada.send(work)
        async with asyncio.timeout(WAIT_SECS):
            await ended.wait()
        with pytest.raises(RpcError, match="older than"):
            await ada.send(work, requestState=first["requestState"])


async def test_a_cancelled_request_cancels_its_call() -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def work(exchange: Exchange) -> bytes:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return b"{}"

    async with client("elicitation") as ada, asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(ada.send(work))
        await began.wait()
        sending.cancel()
        async with asyncio.timeout(WAIT_SECS):
            await ended.wait()


@pytest.mark.requirement("rounds.stopped")
@pytest.mark.parametrize("begun", [True, False])
async def test_who_waits_when_the_gateway_stops_is_told_so(*, begun: bool) -> None:
    began = asyncio.Event()

    async def work(exchange: Exchange) -> bytes:
        began.set()
        await asyncio.Event().wait()
        return b"{}"

    async with asyncio.TaskGroup() as tasks, client("elicitation") as ada:
        sending = tasks.create_task(error_of(ada.send(work)))
        await (began.wait() if begun else asyncio.sleep(0))
    assert "the gateway ended this call before it had a result" in str(sending.result())


@pytest.mark.requirement("rounds.stopped")
async def test_a_result_that_is_there_is_given_though_the_gateway_stops() -> None:
    began, go = asyncio.Event(), asyncio.Event()

    async def work(exchange: Exchange) -> bytes:
        began.set()
        await go.wait()
        return result("there")

    async with asyncio.TaskGroup() as tasks, client("elicitation") as ada:
        sending = tasks.create_task(ada.send(work))
        await began.wait()
        go.set()
        await asyncio.sleep(0)
    assert sending.result()["said"] == "there"


async def test_a_question_that_is_taken_back_is_not_asked() -> None:
    withdrawn, go = asyncio.Event(), asyncio.Event()

    async def work(exchange: Exchange) -> bytes:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0):
                await exchange.ask("elicitation/create", {})
        withdrawn.set()
        await go.wait()
        return result("without")

    async def never(method: str, params: JsonObject) -> JsonObject:
        raise AssertionError("a stateless client is never asked directly")

    paused = SuspendedCall(Exchange(lambda *_: None, never, capabilities={"elicitation": {}}))
    async with asyncio.TaskGroup() as tasks:
        paused.start(tasks, work)
        await withdrawn.wait()
        turning = tasks.create_task(paused.turn())
        await asyncio.sleep(0)
        go.set()
    assert (turning.result(), paused.result()) == (None, result("without"))


async def error_of(sending: Coroutine[None, None, JsonObject]) -> RpcError:
    with pytest.raises(RpcError) as caught:
        await sending
    return caught.value


async def test_what_fails_fails_the_request() -> None:
    async def work(exchange: Exchange) -> bytes:
        raise RpcError(-32000, "no")

    async with client("elicitation") as ada:
        with pytest.raises(RpcError, match="no"):
            await ada.send(work)


async def test_a_client_is_asked_only_what_it_takes() -> None:
    async with client("sampling") as ada:
        with pytest.raises(RpcError, match="has not declared the capability 'elicitation'"):
            await ada.send(ask_once)


async def test_only_so_many_calls_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(input_rounds, "MAX_WAITING", 1)
    async with client("elicitation") as ada:
        await ada.send(ask_once)
        with pytest.raises(RpcError, match="try again in 10 s") as full:
            await ada.send(ask_once)
        assert full.value.retry_after == 10
