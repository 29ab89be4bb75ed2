"""``status`` and ``watch``: the servers of a gateway, what they hold, and what they did."""

import asyncio
from collections import Counter
from collections.abc import Sequence

from mcproxy.commands.gateway_client import GatewayClient, Sample
from mcproxy.commands.report import GOOD, PROBLEMS
from mcproxy.commands.screen import Screen
from mcproxy.types import Json, JsonObject

MIN_PAUSE_SECS = 0.2
_HEADERS = ("server", "state", "tools", "memory", "restarts", "calls", "failed", "last words")
_WORDS_CHARS = 60


async def status(gateway: GatewayClient, screen: Screen, *, as_json: bool) -> int:
    """Print how the gateway is; ``PROBLEMS`` where it is not well."""
    health, samples = await gateway.health(), await gateway.metrics()
    calls, failed = _calls(samples), _failed(samples)
    if as_json:
        counts: JsonObject = {
            name: {"calls": calls[name], "failed": failed[name]} for name in _servers(health)
        }
        screen.json({"url": gateway.url, **health, "calls": counts})
    else:
        _show(gateway.url, health, (calls, failed), screen)
    return GOOD if health.get("status") == "ok" else PROBLEMS


async def watch(
    gateway: GatewayClient, screen: Screen, pause_secs: float, times: int | None, *, as_json: bool
) -> int:
    """The same again and again, ``times`` times (None: until it is stopped)."""
    told = GOOD
    while times is None or times > 0:
        screen.clear()
        told = await status(gateway, screen, as_json=as_json)
        times = None if times is None else times - 1
        if times != 0:
            await asyncio.sleep(max(MIN_PAUSE_SECS, pause_secs))
    return told


def _show(
    url: str, health: JsonObject, counted: tuple[Counter[str], Counter[str]], screen: Screen
) -> None:
    state, sandbox = str(health.get("status")), health.get("sandbox")
    level = sandbox.get("level") if isinstance(sandbox, dict) else "?"
    up, tools = duration(_number(health.get("uptime_secs"))), health.get("tools")
    screen.line(f"MCProxy {health.get('version')} at {url}: {state}, up for {up}")
    screen.line(f"sandbox {level}, {tools} tools")
    calls, failed = counted
    rows = [
        _row(name, server, (calls[name], failed[name])) for name, server in _servers(health).items()
    ]
    screen.table(_HEADERS, rows)
    config = health.get("config")
    if isinstance(config, dict):
        screen.line(f"configuration: {config.get('error')}", "red")


def _row(name: str, server: JsonObject, counted: tuple[int, int]) -> Sequence[str]:
    memory = server.get("rss_mb")
    return (
        name,
        str(server.get("state")),
        str(server.get("tools")),
        "-" if memory is None else f"{_number(memory):.0f} MB",
        str(server.get("restarts")),
        *map(str, counted),
        _shortened(str(server.get("last_error") or "")),
    )


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _WORDS_CHARS else f"{line[: _WORDS_CHARS - 1]}…"


def _servers(health: JsonObject) -> dict[str, JsonObject]:
    servers = health.get("servers")
    found = servers.items() if isinstance(servers, dict) else ()
    return {name: server for name, server in found if isinstance(server, dict)}


def _calls(samples: Sequence[Sample]) -> Counter[str]:
    return _sums(samples, "mcproxy_call_seconds_count")


def _failed(samples: Sequence[Sample]) -> Counter[str]:
    return _sums(samples, "mcproxy_call_errors_total")


def _sums(samples: Sequence[Sample], name: str) -> Counter[str]:
    found: Counter[str] = Counter()
    for sample in samples:
        if sample.name == name:
            found[sample.labels.get("server", "")] += int(sample.value)
    return found


def duration(secs: float) -> str:
    """A time in words, in its two greatest units."""
    minutes, seconds = divmod(int(secs), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    units = ((days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s"))
    first = next((at for at, (count, _) in enumerate(units) if count), len(units) - 1)
    return " ".join(f"{count} {unit}" for count, unit in units[first : first + 2])


def _number(value: Json) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
