"""Finding the gateway that a command talks to: the one that is named, one that runs, or else one
that is started in this process, listens nowhere, and ends with the command.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import httpx

from mcproxy.commands.gateway_client import GatewayClient, GatewayRefused, Work, http_client
from mcproxy.commands.screen import Screen
from mcproxy.config.load import Loaded
from mcproxy.config.running import RunningGateway
from mcproxy.observe import logs
from mcproxy.observe.redact import Redactor, secrets_of
from mcproxy.serve import in_process
from mcproxy.types import JsonObject

START_SECS = 90.0  # `npx` and `uvx` may download a server first
LOOK_SECS = 0.1
_HERE = "http://127.0.0.1"
_UNSETTLED = ("starting", "restarting")


@dataclass(frozen=True, slots=True)
class GatewayChoice:
    """Where to ask: ``url``, or ``running``, or a gateway of what ``load`` gives, started here."""

    load: Callable[[], Loaded]
    running: RunningGateway | None = None
    url: str | None = None
    token: str | None = field(default=None, repr=False)
    namespace: str = ""


def with_gateway(choice: GatewayChoice, screen: Screen, work: Work) -> int:
    """Do the work with that gateway; its exit status. Raises GatewayRefused."""
    return asyncio.run(_with_gateway(choice, screen, work))


async def _with_gateway(choice: GatewayChoice, screen: Screen, work: Work) -> int:
    url = choice.url or (choice.running.url if choice.running else None)
    if url:
        async with http_client(url.rstrip("/"), choice.token) as http:
            return await work(GatewayClient(http, url, choice.namespace))
    loaded = choice.load()
    logs.configure_for_command(Redactor(secrets_of(loaded)))
    refused = None
    async with _started(loaded, choice, screen) as gateway:
        try:
            return await work(gateway)
        except GatewayRefused as error:
            refused = error  # a TaskGroup would wrap it
    raise refused


@contextlib.asynccontextmanager
async def _started(
    loaded: Loaded, choice: GatewayChoice, screen: Screen
) -> AsyncIterator[GatewayClient]:
    """A gateway of this process, once each of its servers is ready or has failed."""
    screen.passing("no gateway runs; starting one for this command …")
    async with (
        in_process(loaded) as app,
        http_client(_HERE, choice.token, httpx.ASGITransport(app)) as http,
    ):
        gateway = GatewayClient(http, "no address (started for this command)", choice.namespace)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_SECS):
                while waited := _waits_for(await gateway.health()):
                    screen.passing(f"waiting for {waited}")
                    await asyncio.sleep(LOOK_SECS)
        yield gateway


def _waits_for(health: JsonObject) -> str:
    """The servers that are not ready yet, with what they say of it; empty where all are."""
    servers = health.get("servers")
    found = servers.items() if isinstance(servers, dict) else ()
    late = {
        name: server.get("last_error")
        for name, server in found
        if isinstance(server, dict) and server.get("state") in _UNSETTLED
    }
    said = next((f": {words}" for words in late.values() if words), "")
    return f"{', '.join(late)}{said}" if late else ""
