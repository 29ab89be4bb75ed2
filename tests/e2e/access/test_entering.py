"""Every caller at every endpoint by every way to name one: entered as the table says, or refused in
the promised words, with no server asked that the endpoint does not reach."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

import httpx
import pytest

from tests.e2e.access.conftest import Site
from tests.e2e.access.model import (
    ENDPOINTS,
    KEEPERS,
    REACH,
    STATUS,
    entered,
    headers,
    is_page,
)
from tests.e2e.access.ways import (
    BY_ARGUMENT,
    BY_HEADER,
    BY_PATH,
    Answer,
    Way,
    everything,
    send,
    stream_by_header,
    tool,
)

AT_ONCE = 16
PAIRS = [(caller, name) for caller in STATUS for name in ENDPOINTS]
Ask = Callable[[], Awaitable[Answer]]
Answers = Mapping[tuple[str, str], Answer]


async def answers_of(site: Site, way: Way) -> Answers:
    """What each caller gets at each endpoint; no server is asked that the caller cannot reach."""
    answers: dict[tuple[str, str], Answer] = {}
    async with site.client() as http:
        for caller in STATUS:
            asked = [partial(way, http, name, headers(caller)) for name in ENDPOINTS]
            with site.untouched(REACH[name] for name in entered(caller)):
                got = await together(asked)
            answers |= {(caller, name): one for name, one in zip(ENDPOINTS, got, strict=True)}
    return answers


async def together(asked: Sequence[Ask]) -> list[Answer]:
    """The answers in the same order, a few requests at a time."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def turn(one: Ask) -> Answer:
        async with turns:
            return await one()

    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(turn(one)) for one in asked]
    return [task.result() for task in running]


@pytest.mark.requirement("access.table")
@pytest.mark.parametrize("way", BY_PATH)
async def test_by_path(site: Site, way: str) -> None:
    answers = await answers_of(site, BY_PATH[way])
    for caller, name in PAIRS:
        answer, status = answers[caller, name], STATUS[caller][name]
        assert answer.status == status, (caller, name, answer)
        assert answer.servers == (REACH[name] if status == 200 else None), (caller, name, answer)
        assert answer.challenge.startswith("Bearer") == (status == 401), (caller, name, answer)
    refused_alike(answers)


@pytest.mark.requirement("access.table")
@pytest.mark.parametrize("way", BY_HEADER)
async def test_by_header(site: Site, way: str) -> None:
    answers = await answers_of(site, BY_HEADER[way])
    for (caller, name), answer in answers.items():
        if STATUS[caller][name] == 200:
            assert answer.servers == REACH[name], (caller, name, answer)
        else:
            assert answer.servers is None, (caller, name, answer)
            expected = turned_away(caller) or ({200, 400}, -32602)
            assert answer.status in expected[0], (caller, name, answer)
            assert answer.code == expected[1], (caller, name, answer)
    refused_alike(answers)


@pytest.mark.requirement("access.table")
async def test_a_stream_by_header(site: Site) -> None:
    answers = await answers_of(site, stream_by_header)
    for (caller, name), answer in answers.items():
        status = STATUS[caller][name]
        if status == 200:
            assert answer.servers == REACH[name], (caller, name, answer)
        else:
            assert answer.status == (403 if is_page(caller) else status), (caller, name, answer)
    refused_alike(answers)


@pytest.mark.requirement("access.table")
@pytest.mark.parametrize("way", BY_ARGUMENT)
async def test_by_argument(site: Site, way: str) -> None:
    answers = await answers_of(site, BY_ARGUMENT[way])
    for (caller, name), answer in answers.items():
        away = turned_away(caller)
        if away:
            assert answer.status in away[0], (caller, name, answer)
        elif STATUS[caller][name] == 200:
            assert answer.servers == REACH[name], (caller, name, answer)
        else:
            assert (answer.status, answer.servers, answer.code) == (200, None, 0), (caller, name)
    refused_alike(answers)


@pytest.mark.requirement("access.table")
async def test_the_argument_is_stronger_than_the_header(site: Site) -> None:
    async def ask(http: httpx.AsyncClient, caller: str, header: str, argument: str) -> Answer:
        named = {**headers(caller), "X-Namespace": header}
        return await send(http, "/message?mode=code", everything(namespace=argument), named)

    callers = ("nobody", "ben", "nobody@shop", "root@shop")
    asked = [(caller, h, a) for caller in callers for h in ENDPOINTS for a in ENDPOINTS]
    async with site.client() as http:
        answers = await together([partial(ask, http, *each) for each in asked])
    for (caller, header, argument), answer in zip(asked, answers, strict=True):
        if is_page(caller) and STATUS[caller][header] != 200:
            assert answer.status == 403, (caller, header, argument, answer)
        elif STATUS[caller][argument] == 200:
            assert answer.servers == REACH[argument], (caller, header, argument, answer)
        else:
            assert (answer.servers, answer.code) == (None, 0), (caller, header, argument, answer)


@pytest.mark.requirement("access.table")
async def test_an_argument_that_disagrees_with_the_path_is_an_error(site: Site) -> None:
    async def ask(http: httpx.AsyncClient, path: str, argument: str) -> Answer:
        body = everything(namespace=argument)
        return await send(http, f"/mcp/{path}?mode=code", body, headers("root"))

    places = [(path, other) for path in entered("root") for other in ENDPOINTS if other != path]
    async with site.client() as http:
        answers = await together([partial(ask, http, *place) for place in places])
    for place, answer in zip(places, answers, strict=True):
        assert (answer.servers, answer.code) == (None, 0), (place, answer)
        assert all(repr(name) in answer.words for name in place)


@pytest.mark.requirement("access.same_words")
@pytest.mark.parametrize("name", ["search", "execute", "touch"])
async def test_a_faulty_call_tells_no_guarded_endpoint_from_an_unknown_one(
    site: Site, name: str
) -> None:
    """``attic`` is guarded and in direct mode, where there are no meta-tools."""
    async with site.client() as http:
        told = [
            await send(
                http, "/message", tool(name, odd=1), {**headers("ann"), "X-Namespace": endpoint}
            )
            for endpoint in ("attic", "cellar", "nowhere")
        ]
    words = {(answer.code, re.sub("attic|cellar|nowhere", "…", answer.words)) for answer in told}
    assert len(words) == 1, told


@pytest.mark.requirement("access.table")
async def test_health_and_metrics_name_what_the_caller_reaches(site: Site) -> None:
    async with site.client() as http:
        for caller in STATUS:
            health = await http.get("/health", headers=headers(caller))
            metrics = await http.get("/metrics", headers=headers(caller))
            told = {health.status_code, metrics.status_code}
            if away := turned_away(caller):
                assert told == away[0], caller
                assert not [name for name in KEEPERS if name in health.text + metrics.text]
                continue
            assert told == {200}, caller
            seen = frozenset[str]().union(*(REACH[name] for name in entered(caller)))
            assert health.json()["servers"].keys() == seen, caller
            assert health.json()["tools"] == len(seen), caller
            assert {name for name in KEEPERS if name in health.text} == seen, caller
            assert {name for name in KEEPERS if name in metrics.text} == seen, caller


def turned_away(caller: str) -> tuple[set[int], int | None] | None:
    """What HTTP says to a caller that may not come in at all, wherever it wants to go."""
    if caller == "wrong":
        return {401}, None
    return ({403}, None) if is_page(caller) else None


def refused_alike(answers: Answers) -> None:
    """Guarded and unknown endpoints are refused to a caller in the same words, which name what is
    open to it and nothing else."""
    for caller in STATUS:
        words = {
            told_of(answers[caller, name], name)
            for name in ENDPOINTS
            if STATUS[caller][name] in (401, 404)
        }
        assert len(words) == 1, (caller, words)
        ((*_, told),) = words
        listed = re.search(r"Namespaces open to you: ([^.]*)\.", told)
        assert listed or turned_away(caller), (caller, told)
        if listed:
            open_to = entered(caller) or ["none"]
            assert listed[1].split(", ") == open_to, (caller, told)


def told_of(answer: Answer, name: str) -> tuple[int, int | None, str, str]:
    """All of a refusal but the name itself."""
    return answer.status, answer.code, answer.challenge, answer.words.replace(repr(name), "…")
