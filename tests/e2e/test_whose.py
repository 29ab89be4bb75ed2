"""What a server asks and says reaches the client that it belongs to, or nobody, never another one.

Two callers have a call under way at the same server at the same time, over each kind of way to the
gateway and from it to the server, for each affinity.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from mcp import types
from mcp.client.client import Client
from mcp.client.sse import sse_client
from mcp.client.stdio import stdio_client
from pydantic import FileUrl

from mcproxy.types import Json, JsonObject
from tests.e2e.gateways import Running, gateway
from tests.e2e.test_affinity import program
from tests.e2e.test_direct import meta_of, text
from tests.e2e.test_streamable import url
from tests.upstream.fleets import server as definition_of
from tests.upstream.remote.remotes import listening

Way = Literal["stdio", "http", "aside", "sse"]
WAYS: tuple[Way, ...] = ("stdio", "http", "aside", "sse")
AFFINITIES = ("shared", "client", "call")
QUESTIONS = ("elicitation", "sampling", "roots")
KINDS = (*QUESTIONS, "log", "progress")
PAIRS = (
    ("session", "session"),
    ("sse", "session"),
    ("stateless", "stateless"),
    ("stateless", "session"),
    ("script", "session"),
)
BOUND_SECS = 30.0
REFUSED = "is passed on to nobody: requests of several clients are under way"

pytestmark = pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")


def document(urls: dict[str, str], *only: str) -> JsonObject:
    """One server for each way and affinity, or ``only`` these, in direct mode beside scripts."""
    ways: dict[str, JsonObject] = {
        "stdio": definition_of("overlapping.py"),
        "http": {"url": urls["http"]},
        "aside": {"url": urls["http"]},
        "sse": {"url": urls["sse"], "transport": "sse"},
    }
    servers: JsonObject = {
        f"{way}_{affinity}": {**ways[way], "affinity": affinity, "max_instances": 20}
        for way in WAYS
        for affinity in AFFINITIES
    }
    servers |= {f"{way}_alone": ways[way] for way in WAYS}
    servers = {name: servers[name] for name in only or servers}
    place: JsonObject = {"mode": "both", "servers": [*servers]}
    return {
        "servers": servers,
        "namespaces": {"public": place},
        "sandbox": {"min_level": "none"},
        "manifests": {"startup_dwell_secs": 20},
    }


@pytest.fixture(scope="module")
def urls() -> Iterator[dict[str, str]]:
    """The servers over HTTP."""
    with listening("overlapping.py", "--http") as http, listening("overlapping.py", "--sse") as sse:
        yield {"http": http, "sse": sse}


@pytest.fixture(scope="module")
def meeting(tmp_path_factory: pytest.TempPathFactory, urls: dict[str, str]) -> Iterator[Running]:
    """A gateway in front of all of them."""
    with ExitStack() as stack:
        yield stack.enter_context(gateway(tmp_path_factory.mktemp("meeting"), document(urls)))


@dataclass
class Person:
    """Who sits behind a client: answers with the own name, and notes whose words it hears."""

    name: str
    heard: list[tuple[str, str]] = field(default_factory=list)
    call: Callable[[str, JsonObject], Awaitable[str]] | None = None

    async def elicit(
        self, context: object, params: types.ElicitRequestParams
    ) -> types.ElicitResult:
        self.heard.append(("elicitation", params.message))
        return types.ElicitResult(action="accept", content={"name": self.name})

    async def sample(
        self, context: object, params: types.CreateMessageRequestParams
    ) -> types.CreateMessageResult:
        said = params.messages[0].content
        assert isinstance(said, types.TextContent)
        self.heard.append(("sampling", said.text))
        answer = types.TextContent(type="text", text=self.name)
        return types.CreateMessageResult(role="assistant", content=answer, model="m")

    async def roots(self, context: object) -> types.ListRootsResult:
        self.heard.append(("roots", self.name))  # the question does not say whose it is
        return types.ListRootsResult(roots=[types.Root(uri=FileUrl(f"file:///{self.name}"))])

    async def log(self, params: types.LoggingMessageNotificationParams) -> None:
        self.heard.append(("log", str(params.data)))

    async def progress(self, progress: float, total: float | None, message: str | None) -> None:
        self.heard.append(("progress", str(message)))


@asynccontextmanager
async def connected(client: str, person: Person, running: Running) -> AsyncIterator[Person]:
    """A client of one kind with a person behind it."""
    transport: object = url(running, "/mcp")
    if client == "sse":
        transport = sse_client(url(running, "/sse"))
    async with opened(transport, person, stateless=client == "stateless") as found:
        person.call = calling(found, person, script=client == "script")
        yield person


def opened(transport: object, person: Person, *, stateless: bool = False) -> Client:
    return Client(
        transport,  # type: ignore[arg-type]
        mode="2026-07-28" if stateless else "legacy",
        elicitation_callback=person.elicit,
        sampling_callback=person.sample,
        list_roots_callback=person.roots,
        logging_callback=person.log,
        cache=None,
    )


def calling(
    client: Client, person: Person, *, script: bool = False
) -> Callable[[str, JsonObject], Awaitable[str]]:
    """How this client calls ``meet``."""
    meta = meta_of(**{"io.modelcontextprotocol/logLevel": "debug"})

    async def call(server: str, given: JsonObject) -> str:
        name, arguments = f"{server}__meet", given
        if script:
            code = f"api.server({server!r}).meet(**{given!r})"
            name, arguments = "execute", {"code": code}
        done = await client.call_tool(name, arguments, meta=meta, progress_callback=person.progress)
        return text(done)

    return call


async def meet(
    pair: tuple[Person, Person], server: str, kinds: Sequence[str], folder: Path, **more: Json
) -> tuple[str, str]:
    """Let both call at once, for these kinds in turn; what their calls gave, ``|`` between."""
    await asyncio.to_thread(folder.mkdir)
    ada, bob = pair
    assert ada.call is not None
    assert bob.call is not None
    given: JsonObject = {"kind": " ".join(kinds), "folder": str(folder), **more}
    async with asyncio.timeout(BOUND_SECS):
        return await asyncio.gather(
            ada.call(server, {**given, "me": ada.name, "other": bob.name}),
            bob.call(server, {**given, "me": bob.name, "other": ada.name}),
        )


def named(gave: str, person: Person) -> bool:
    """Whether a question was answered by this person."""
    return person.name in gave


@pytest.mark.requirement("tenancy.own_only")
@pytest.mark.parametrize("affinity", AFFINITIES)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("clients", PAIRS, ids="-".join)
async def test_everything_reaches_its_own_client_or_nobody(
    meeting: Running, tmp_path: Path, clients: tuple[str, str], way: Way, affinity: str
) -> None:
    known = affinity != "shared" or way == "http"
    async with AsyncExitStack() as stack:
        ada = await stack.enter_async_context(connected(clients[0], Person("ada"), meeting))
        bob = await stack.enter_async_context(connected(clients[1], Person("bob"), meeting))
        gave = await meet(
            (ada, bob), f"{way}_{affinity}", KINDS, tmp_path / "all", aside=way == "aside"
        )
        for person, client, answers in zip((ada, bob), clients, gave, strict=True):
            for kind, answer in zip(KINDS, answers.split(" | "), strict=True):
                heard = [one for one in person.heard if one[0] == kind]
                said = person.name
                if kind == "progress" and client == "script":  # which of its calls, and how far
                    said = f"{way}_{affinity}.meet: {said} (1)"
                expected = [(kind, said)] if known or kind == "progress" else []
                if way == "aside" and kind not in QUESTIONS:  # that stream may lag behind the reply
                    assert heard in ([], expected)
                else:
                    assert heard == expected
                if kind in QUESTIONS:
                    assert named(answer, person) if known else REFUSED in answer


@pytest.mark.requirement("tenancy.own_only")
@pytest.mark.parametrize("way", WAYS)
async def test_one_client_is_asked_though_several_calls_of_it_are_under_way(
    meeting: Running, tmp_path: Path, way: Way
) -> None:
    async with connected("session", Person("ada"), meeting) as ada:
        twin = Person("ada too", ada.heard, ada.call)
        gave = await meet(
            (ada, twin), f"{way}_alone", QUESTIONS, tmp_path / "all", aside=way == "aside"
        )
        for answers in gave:
            assert [named(answer, ada) for answer in answers.split(" | ")] == [True] * 3
        assert len(ada.heard) == 2 * len(QUESTIONS)


@pytest.mark.requirement("tenancy.own_only")
async def test_a_client_over_stdio_is_one_in_each_namespace(
    tmp_path: Path, urls: dict[str, str]
) -> None:
    places: JsonObject = {"public": {"mode": "both"}, "other": {"extends": "public"}}
    rules: JsonObject = {**document(urls, "stdio_shared"), "namespaces": places}
    ada = Person("ada")
    async with opened(stdio_client(program(tmp_path, rules)), ada) as client:
        ada.call = calling(client, ada)
        twin = Person("twin", ada.heard, ada.call)
        for answer in await meet((ada, twin), "stdio_shared", ("elicitation",), tmp_path / "same"):
            assert named(answer, ada)

        async def elsewhere(server: str, given: JsonObject) -> str:
            code = f"api.server({server!r}).meet(**{given!r})"
            done = await client.call_tool("execute", {"code": code, "namespace": "other"})
            return text(done)

        twin.call = elsewhere
        for answer in await meet((ada, twin), "stdio_shared", ("elicitation",), tmp_path / "two"):
            assert REFUSED in answer


@pytest.mark.requirement("tenancy.forged_progress")
async def test_the_stream_of_one_call_carries_no_progress_of_another(
    meeting: Running, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        ada = await stack.enter_async_context(connected("session", Person("ada"), meeting))
        bob = await stack.enter_async_context(connected("session", Person("bob"), meeting))
        await meet((ada, bob), "http_shared", ("forged",), tmp_path / "forged")
        assert ada.heard == bob.heard == []


@pytest.mark.requirement("tenancy.told")
async def test_the_operator_is_told_once_with_the_cure(
    tmp_path: Path, urls: dict[str, str]
) -> None:
    with gateway(tmp_path, document(urls, "stdio_shared")) as running:
        async with AsyncExitStack() as stack:
            ada = await stack.enter_async_context(connected("session", Person("ada"), running))
            bob = await stack.enter_async_context(connected("session", Person("bob"), running))
            for kind in ("log", "roots"):
                await meet((ada, bob), "stdio_shared", (kind,), tmp_path / kind)
    told = [line for line in running.logged.text.splitlines() if "passed on to nobody" in line]
    assert len(told) == 1
    assert '"affinity": "client"' in json.loads(told[0])["message"]
