"""Remote servers as others write them: the official SDK's, over every transport that it serves."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from mcproxy.types import JsonObject
from tests.upstream.fleets import running
from tests.upstream.remote.remotes import Listening, forking
from tests.upstream.test_instances import Client, until


@pytest.fixture(scope="module")
def sdk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listening]:
    """A server of the SDK with the given options."""
    with forking("remote_sdk.py", tmp_path_factory.mktemp("sdk")) as sdk:
        yield sdk


@pytest.mark.requirement("remote.eras")
@pytest.mark.parametrize(
    ("options", "transport", "version"),
    [
        ((), "http", "2026-07-28"),
        (("--json",), "http", "2026-07-28"),
        (("--legacy",), "http", "2025-11-25"),
        (("--legacy", "--json"), "http", "2025-11-25"),
        (("--legacy", "--stateless"), "http", "2025-11-25"),
        (("--legacy", "--stateless", "--json"), "http", "2025-11-25"),
        (("--sse",), "sse", "2026-07-28"),
        (("--sse",), "http", "2025-11-25"),  # falls back, after it was asked for its era
    ],
)
async def test_the_sdk_server(
    sdk: Listening, options: tuple[str, ...], transport: str, version: str
) -> None:
    with sdk(*options) as url:
        async with running(sdk={"url": url, "transport": transport}) as watched:
            health = watched.fleet.health()["sdk"]
            assert (health.state, health.tools, health.last_error) == ("ready", 10, None)
            assert version in str(await watched.call("sdk", "era"))
            assert "Hello Ada" in str(await watched.call("sdk", "greet", name="Ada"))
            assert "done" in str(await watched.call("sdk", "work"))
            assert "in Rhône" in str(await watched.call("sdk", "located", region="Rhône"))
            assert (await watched.call("sdk", "refuse", reason="no"))["isError"] is True


@pytest.mark.requirement("remote.list_changed")
@pytest.mark.parametrize(
    ("options", "transport"), [((), "http"), (("--legacy",), "http"), (("--sse",), "sse")]
)
async def test_a_changed_list_is_read_again(
    sdk: Listening, options: tuple[str, ...], transport: str
) -> None:
    with sdk(*options) as url:
        async with running(sdk={"url": url, "transport": transport}) as watched:
            await watched.call("sdk", "grow")
            await watched.until("sdk", lambda health: health.tools == 11)


@pytest.mark.requirement("remote.down")
@pytest.mark.parametrize(
    ("options", "transport"), [((), "http"), (("--legacy",), "http"), (("--sse",), "sse")]
)
async def test_a_server_that_goes_away_is_noticed(
    sdk: Listening, options: tuple[str, ...], transport: str
) -> None:
    with ExitStack() as servers:
        url = servers.enter_context(sdk(*options))
        async with running(sdk={"url": url, "transport": transport}) as watched:
            assert watched.fleet.health()["sdk"].state == "ready"
            await asyncio.to_thread(servers.close)
            health = await watched.until("sdk", lambda health: health.last_error is not None)
            assert health.state == "restarting"


@pytest.mark.requirement("affinity.client")
async def test_each_session_has_a_session_with_a_remote_server(sdk: Listening) -> None:
    with sdk("--legacy") as address:
        keeps: JsonObject = {"url": address, "affinity": "client", "instance_idle_secs": 0.5}
        async with running(echo=keeps) as watched:
            ada, bob = Client(watched), Client(watched)
            for client in (ada, bob):
                await client.call("era")
            assert watched.fleet.health()["echo"].instances == (None, None)
            ada.tenant.ended.set()
            await until(watched, lambda health: health.instances == (None,))
            await until(watched, lambda health: (health.instances, health.state) == ((), "idle"))
            await bob.call("era")
            assert watched.fleet.health()["echo"].instances == (None,)
