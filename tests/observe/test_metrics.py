"""What Prometheus reads: counts of what happened, and the state at the moment of asking."""

import asyncio
import json
from collections.abc import Mapping

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mcproxy.call_errors import CallError, CallTimeout, RateLimited, ServerDown, UnknownTool
from mcproxy.exchange import NOBODY, Exchange
from mcproxy.observe.health import Status, report
from mcproxy.observe.metrics import MAX_TOOLS, OTHER, MetricFacts, Metrics
from mcproxy.types import (
    Json,
    Outcome,
    PoolStats,
    SandboxReport,
    ScriptError,
    ServerHealth,
    ToolRef,
    ToolResult,
)

REF = ToolRef("github", "list")
APART = ServerHealth("idle", instances=(1, None), rss_mb=20.0)
HEALTH = {"github": ServerHealth("ready", tools=3, restarts=2, pid=1, rss_mb=50.0)}
POOL = PoolStats(ready=2, running=3, waiting=4, executions=9, restarts=5)
Samples = dict[tuple[str, tuple[str, ...]], float]


async def answer(exchange: Exchange, ref: ToolRef, arguments: Mapping[str, Json]) -> ToolResult:
    """A tool that does what its name says."""
    match ref.tool:
        case "unknown":
            raise UnknownTool(ref, [])
        case "limited":
            raise RateLimited(ref, "public", 60, 1.0)
        case "slow":
            raise CallTimeout(ref, 1.0, safe=False)
        case "down":
            raise ServerDown(ref, "gone")
        case "bug":
            raise RuntimeError
        case "cancelled":
            raise asyncio.CancelledError
    return ToolResult(b"{}", is_error=ref.tool == "refuses")


def samples(metrics: Metrics, facts: MetricFacts | None = None) -> Samples:
    """Every sample by its name and the values of its labels in the order of their names."""
    text = metrics.expose(facts or MetricFacts(1.5, HEALTH, POOL)).decode()
    return {
        (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def call_all(metrics: Metrics, *tools: str) -> None:
    measured = metrics.measured(answer)
    for tool in tools:
        try:
            await measured(NOBODY, ToolRef("github", tool), {})
        except (CallError, RuntimeError, asyncio.CancelledError):
            continue


@pytest.mark.requirement("metrics.calls")
async def test_calls_are_counted_by_tool_and_failures_by_code() -> None:
    metrics = Metrics()
    await call_all(
        metrics, "list", "list", "refuses", "limited", "slow", "down", "bug", "cancelled"
    )
    found = samples(metrics)
    assert found["mcproxy_call_seconds_count", ("github", "list")] == 2
    assert found["mcproxy_call_seconds_bucket", ("+Inf", "github", "list")] == 2
    codes = {
        labels[0]: value
        for (name, labels), value in found.items()
        if name == "mcproxy_call_errors_total"
    }
    assert codes == {
        "tool_error": 1,
        "rate_limited": 1,
        "timeout": 1,
        "server_down": 1,
        "internal_error": 1,
        "cancelled": 1,
    }


async def test_names_that_are_no_tools_become_no_labels() -> None:
    metrics = Metrics()
    await call_all(metrics, "unknown", "down", "limited")
    found = samples(metrics)
    assert found["mcproxy_call_errors_total", ("unknown_tool", "")] == 1
    assert found["mcproxy_call_seconds_count", ("github", OTHER)] == 2
    assert not [labels for _, labels in found if "unknown" in labels or "down" in labels]


async def test_the_number_of_series_is_bounded() -> None:
    metrics = Metrics()
    await call_all(metrics, *(f"tool-{number}" for number in range(MAX_TOOLS + 5)))
    counts = [
        labels[1] for name, labels in samples(metrics) if name == "mcproxy_call_seconds_count"
    ]
    assert len(counts) == MAX_TOOLS + 1
    assert OTHER in counts


@pytest.mark.requirement("metrics.executions")
def test_executions_are_counted_by_outcome() -> None:
    metrics = Metrics()
    metrics.execution(Outcome(execution_time_ms=100))
    metrics.execution(Outcome(error=ScriptError("Timeout", "…"), execution_time_ms=2000))
    metrics.execution(Outcome(error=ScriptError("MyOwnError", "…")))
    found = samples(metrics)
    for outcome in ("success", "Timeout", "exception"):
        assert found["mcproxy_execution_seconds_count", (outcome,)] == 1
    assert found["mcproxy_execution_seconds_sum", ("Timeout",)] == 2


def test_searches_and_requests_are_counted() -> None:
    metrics = Metrics()
    metrics.searched()
    with metrics.in_flight:
        during = samples(metrics)
    assert during["mcproxy_searches_total", ()] == 1
    assert during["mcproxy_requests_in_flight", ()] == 1
    assert samples(metrics)["mcproxy_requests_in_flight", ()] == 0


@pytest.mark.requirement("metrics.servers")
def test_servers_and_the_gateway_are_told_as_they_are_now() -> None:
    found = samples(Metrics())
    assert found["mcproxy_server_state", ("github", "ready")] == 1
    assert found["mcproxy_server_state", ("github", "failed")] == 0
    assert found["mcproxy_server_tools", ("github",)] == 3
    assert found["mcproxy_server_restarts_total", ("github",)] == 2
    assert found["mcproxy_server_resident_memory_bytes", ("github",)] == 50 << 20
    assert found["mcproxy_workers_ready", ()] == 2
    assert found["mcproxy_executions_running", ()] == 3
    assert found["mcproxy_executions_waiting", ()] == 4
    assert found["mcproxy_zygote_restarts_total", ()] == 5
    assert found["mcproxy_uptime_seconds", ()] == 1.5
    assert found["process_resident_memory_bytes", ()] > 1 << 20


@pytest.mark.requirement("metrics.visibility")
async def test_a_server_that_may_not_be_seen_is_in_no_sample() -> None:
    metrics = Metrics()
    await call_all(metrics, "list", "limited", "unknown")
    text = metrics.expose(MetricFacts(1.0, {}, POOL)).decode()
    assert "github" not in text
    assert "mcproxy_uptime_seconds 1.0" in text


async def test_two_gateways_share_nothing() -> None:
    one, other = Metrics(), Metrics()
    await call_all(one, "list")
    assert ("mcproxy_call_seconds_count", ("github", "list")) not in samples(other)


@pytest.mark.requirement("affinity.told")
def test_instances_and_their_memory_are_told_for_servers_that_have_some() -> None:
    found = samples(Metrics(), MetricFacts(1.5, {**HEALTH, "browser": APART}, POOL))
    instances = {key: value for key, value in found.items() if key[0] == "mcproxy_server_instances"}
    assert instances == {("mcproxy_server_instances", ("browser",)): 2}
    assert found["mcproxy_server_resident_memory_bytes", ("browser",)] == 20 << 20
    servers = {**HEALTH, "browser": APART}
    told = json.dumps(report(Status(1.5, stopping=False), servers, SandboxReport("none")))
    shown = json.loads(told)["servers"]
    assert shown["browser"]["instances"] == 2
    assert shown["browser"]["rss_mb"] == 20
    assert "instances" not in shown["github"]
