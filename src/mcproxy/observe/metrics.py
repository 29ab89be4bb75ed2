"""What ``GET /metrics`` tells, in the Prometheus text format.

Owns the names, labels and buckets of the metrics. Counts what happens (calls, executions,
searches, requests) as it happens; how servers and workers are is handed in when somebody asks, so
that nothing has to be kept up to date. An own registry: two gateways in one process share nothing.

The number of series is bounded: labels come from the configuration and from tools that were really
called, and beyond ``MAX_TOOLS`` of those the rest is counted together.
"""

import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from mcproxy.call_errors import NO_SUCH_TOOL, CallTimeout, failure_code
from mcproxy.exchange import Exchange, ServerCall
from mcproxy.queues import Load
from mcproxy.types import (
    Json,
    Outcome,
    PoolStats,
    ServerHealth,
    ServerState,
    ToolRef,
    ToolResult,
)

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
# Tools with a histogram of their own, 11 lines each; with so many a report takes 10 ms to write,
# and nothing else is done meanwhile. Tools that are first called later are counted as OTHER.
MAX_TOOLS = 100
OTHER = "(other)"
CALL_SECONDS = (0.005, 0.025, 0.1, 0.25, 1.0, 5.0, 30.0, 120.0)
SCRIPT_SECONDS = (0.01, 0.05, 0.25, 1.0, 5.0, 30.0, 120.0)

_MIB = 1 << 20
_SHOWS_THE_TOOL = (None, "tool_error", CallTimeout.code)  # the tool exists, since it was at work
_OWN_ENDINGS = ("Timeout", "MemoryLimit", "ResultLimit", "CheckError", "SandboxError")
_STATES: tuple[ServerState, ...] = get_args(ServerState)


@dataclass(frozen=True, slots=True)
class MetricFacts:
    """How the gateway is at this moment.

    ``servers`` are those that whoever asks may see, and ``queues`` the namespaces with limits that
    it may use: nothing is told about any other.
    """

    uptime_secs: float
    servers: Mapping[str, ServerHealth]
    pool: PoolStats
    queues: Mapping[str, Load] = field(default_factory=dict)


class InFlight:
    """Counts what is under way: as many as are within a ``with`` of it."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> None:
        self.count += 1

    def __exit__(self, *_: object) -> None:
        self.count -= 1


class Metrics:
    """The counts since the start; ``in_flight``: of the requests that are being answered."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        labels = ("server", "tool")
        self._calls = Histogram(
            "mcproxy_call_seconds",
            "Duration of calls of upstream tools, failed ones included.",
            labels,
            buckets=CALL_SECONDS,
            registry=registry,
        )
        self._errors = Counter(
            "mcproxy_call_errors", "Failed calls by code.", ("server", "code"), registry=registry
        )
        self._executions = Histogram(
            "mcproxy_execution_seconds",
            "Duration of scripts by outcome: success, or the type of the error.",
            ("outcome",),
            buckets=SCRIPT_SECONDS,
            registry=registry,
        )
        self._searches = Counter("mcproxy_searches", "Answered searches.", registry=registry)
        self.in_flight = InFlight()
        Gauge(
            "mcproxy_requests_in_flight", "Requests being answered.", registry=registry
        ).set_function(lambda: self.in_flight.count)
        self._known: set[ToolRef] = set()

    def measured(self, call: ServerCall) -> ServerCall:
        """The same call, counted and timed."""

        async def measured_call(
            exchange: Exchange, ref: ToolRef, arguments: Mapping[str, Json]
        ) -> ToolResult:
            started = time.monotonic()
            try:
                result = await call(exchange, ref, arguments)
            except BaseException as error:
                self._count(ref, failure_code(error), time.monotonic() - started)
                raise
            code = "tool_error" if result.is_error else None
            self._count(ref, code, time.monotonic() - started)
            return result

        return measured_call

    def execution(self, outcome: Outcome) -> None:
        """Count a script that has ended."""
        self._executions.labels(_ending(outcome)).observe(outcome.execution_time_ms / 1000)

    def searched(self) -> None:
        """Count a search."""
        self._searches.inc()

    def expose(self, facts: MetricFacts) -> bytes:
        """All metrics as text, of content type ``CONTENT_TYPE``."""
        counted = _Visible(self._registry, facts.servers)
        return generate_latest(counted) + generate_latest(_Now(facts))

    def _count(self, ref: ToolRef, code: str | None, secs: float) -> None:
        if code in NO_SUCH_TOOL:  # the names are whatever was asked: they must not become labels
            self._errors.labels("", code).inc()
            return
        if code:
            self._errors.labels(ref.server, code).inc()
        if code in _SHOWS_THE_TOOL and len(self._known) < MAX_TOOLS:
            self._known.add(ref)
        tool = ref.tool if ref in self._known else OTHER
        self._calls.labels(ref.server, tool).observe(secs)


class _Visible(Collector):
    """A registry's metrics without those of servers that whoever asks may not see.

    Also without the time at which each series began, which would be a tenth of the text.
    """

    def __init__(self, registry: CollectorRegistry, servers: Collection[str]) -> None:
        self._registry, self._servers = registry, frozenset({"", *servers})

    def collect(self) -> Iterable[Metric]:
        for metric in self._registry.collect():
            shown = Metric(metric.name, metric.documentation, metric.type)
            shown.samples = [
                sample
                for sample in metric.samples
                if not sample.name.endswith("_created")
                and sample.labels.get("server", "") in self._servers
            ]
            yield shown


class _Now(Collector):
    """The state of the gateway at this moment, as metrics."""

    def __init__(self, facts: MetricFacts) -> None:
        self._facts = facts

    def collect(self) -> Iterable[Metric]:
        facts = self._facts
        yield GaugeMetricFamily(
            "mcproxy_uptime_seconds", "Seconds since the start.", value=facts.uptime_secs
        )
        yield from _pool_metrics(facts.pool)
        yield from _server_metrics(facts.servers)
        yield from _queue_metrics(facts.queues)


def _pool_metrics(pool: PoolStats) -> Iterator[Metric]:
    gauges = {
        "mcproxy_workers_ready": ("Workers that wait for a script.", pool.ready),
        "mcproxy_executions_running": ("Scripts that run.", pool.running),
        "mcproxy_executions_waiting": ("Scripts that wait for others to end.", pool.waiting),
    }
    for name, (about, value) in gauges.items():
        yield GaugeMetricFamily(name, about, value=value)
    yield CounterMetricFamily(
        "mcproxy_zygote_restarts", "Fork servers that had to be replaced.", value=pool.restarts
    )


def _server_metrics(servers: Mapping[str, ServerHealth]) -> Iterator[Metric]:
    states = GaugeMetricFamily(
        "mcproxy_server_state", "1 for the state that the server is in.", labels=("server", "state")
    )
    tools = GaugeMetricFamily("mcproxy_server_tools", "Tools of the server.", labels=("server",))
    restarts = CounterMetricFamily(
        "mcproxy_server_restarts", "Restarts of the server.", labels=("server",)
    )
    memory = GaugeMetricFamily(
        "mcproxy_server_resident_memory_bytes",
        "Resident memory of the server's process, its instances, and all that they started.",
        labels=("server",),
    )
    instances = GaugeMetricFamily(
        "mcproxy_server_instances",
        "Instances of a server that clients do not share.",
        labels=("server",),
    )
    for name, server in servers.items():
        for state in _STATES:
            states.add_metric((name, state), float(server.state == state))
        tools.add_metric((name,), server.tools)
        restarts.add_metric((name,), server.restarts)
        if server.rss_mb is not None:
            memory.add_metric((name,), server.rss_mb * _MIB)
        if server.instances is not None:
            instances.add_metric((name,), len(server.instances))
    yield from (states, tools, restarts, memory, instances)


def _queue_metrics(queues: Mapping[str, Load]) -> Iterator[Metric]:
    running = GaugeMetricFamily(
        "mcproxy_namespace_running",
        "Executions and direct calls under way in the namespace.",
        labels=("namespace",),
    )
    waiting = GaugeMetricFamily(
        "mcproxy_namespace_waiting",
        "Executions and direct calls that wait for a place in the namespace.",
        labels=("namespace",),
    )
    for name, load in queues.items():
        running.add_metric((name,), load.running)
        waiting.add_metric((name,), load.waiting)
    yield from (running, waiting)


def _ending(outcome: Outcome) -> str:
    """The outcome as one of few words: the names of a script's own exceptions are its own."""
    if outcome.error is None:
        return "success"
    return outcome.error.type if outcome.error.type in _OWN_ENDINGS else "exception"
