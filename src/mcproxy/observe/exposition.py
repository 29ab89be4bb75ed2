"""What ``GET /metrics`` tells, in the Prometheus text format: names, labels and words.

Loaded when somebody asks, since the library takes a twentieth of the gateway's start. Nothing is
registered anywhere: two gateways in one process share nothing. The time at which each series began
is not told, which would be a tenth of the text.
"""

from collections.abc import Iterator, Mapping
from math import isinf
from typing import get_args

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from mcproxy.observe.metrics import Durations, MetricFacts, Metrics
from mcproxy.queues import Load
from mcproxy.types import PoolStats, ServerHealth, ServerState

_MIB = 1 << 20
_STATES: tuple[ServerState, ...] = get_args(ServerState)


def written(counted: Metrics, facts: MetricFacts) -> bytes:
    """What was counted, without what is of servers that whoever asks may not see, and how the
    gateway is at this moment."""
    return generate_latest(_All(counted, facts))


class _All(Collector):
    """All metrics, as the library wants to be handed them."""

    def __init__(self, counted: Metrics, facts: MetricFacts) -> None:
        self._counted, self._facts = counted, facts

    def collect(self) -> Iterator[Metric]:
        facts = self._facts
        yield from ProcessCollector(registry=CollectorRegistry()).collect()
        yield from _counted_metrics(self._counted, {"", *facts.servers})
        yield GaugeMetricFamily(
            "mcproxy_uptime_seconds", "Seconds since the start.", value=facts.uptime_secs
        )
        yield from _pool_metrics(facts.pool)
        yield from _server_metrics(facts.servers)
        yield from _queue_metrics(facts.queues)


def _counted_metrics(counted: Metrics, visible: set[str]) -> Iterator[Metric]:
    calls = HistogramMetricFamily(
        "mcproxy_call_seconds",
        "Duration of calls of upstream tools, failed ones included.",
        labels=("server", "tool"),
    )
    for ref, durations in counted.calls.items():
        if ref.server in visible:
            _add(calls, (ref.server, ref.tool), durations)
    yield calls
    errors = CounterMetricFamily(
        "mcproxy_call_errors", "Failed calls by code.", labels=("server", "code")
    )
    for (server, code), count in counted.errors.items():
        if server in visible:
            errors.add_metric((server, code), count)
    yield errors
    executions = HistogramMetricFamily(
        "mcproxy_execution_seconds",
        "Duration of scripts by outcome: success, or the type of the error.",
        labels=("outcome",),
    )
    for outcome, durations in counted.executions.items():
        _add(executions, (outcome,), durations)
    yield executions
    yield CounterMetricFamily("mcproxy_searches", "Answered searches.", value=counted.searches)
    yield GaugeMetricFamily(
        "mcproxy_requests_in_flight", "Requests being answered.", value=counted.in_flight.count
    )


def _add(family: HistogramMetricFamily, labels: tuple[str, ...], durations: Durations) -> None:
    buckets = [("+Inf" if isinf(bound) else str(bound), n) for bound, n in durations.buckets()]
    family.add_metric(labels, buckets, durations.sum)


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
