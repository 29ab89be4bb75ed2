"""What is counted for ``GET /metrics``: calls, executions, searches, requests, as they happen; and
whether the like is sent to a receiver of OpenTelemetry's, which ``telemetry`` does.

How servers and workers are is handed in when somebody asks, so that nothing has to be kept up to
date; ``exposition`` writes the text, and is loaded then.

The number of series is bounded: labels come from the configuration and from tools that were really
called, and beyond ``MAX_TOOLS`` of those the rest is counted together.
"""

import contextlib
import logging
import sys
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

import msgspec

from mcproxy.call_errors import NO_SUCH_TOOL, CallTimeout, failure_code
from mcproxy.cancellation import finish
from mcproxy.config.load import Loaded
from mcproxy.errors import ConfigError, Problem
from mcproxy.exchange import Exchange, ServerCall
from mcproxy.queues import Load
from mcproxy.types import (
    CallTool,
    Job,
    Json,
    Outcome,
    PoolStats,
    RunCode,
    ServerHealth,
    ToolRef,
    ToolResult,
)

if TYPE_CHECKING:
    from mcproxy.observe.telemetry import Telemetry

END_SECS = 6.0  # for the last to be sent: a little more than the exporter is given
_SIGNALS = ("TRACES", "METRICS")
_RECEIVERS = (
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    *(f"OTEL_EXPORTER_OTLP_{kind}_ENDPOINT" for kind in _SIGNALS),
)

log = logging.getLogger(__name__)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# Tools with a histogram of their own, 11 lines each; with so many a report takes 10 ms to write,
# and nothing else is done meanwhile. Tools that are first called later are counted as OTHER.
MAX_TOOLS = 100
OTHER = "(other)"
CALL_SECONDS = (0.005, 0.025, 0.1, 0.25, 1.0, 5.0, 30.0, 120.0)
SCRIPT_SECONDS = (0.01, 0.05, 0.25, 1.0, 5.0, 30.0, 120.0)

_SHOWS_THE_TOOL = (None, "tool_error", CallTimeout.code)  # the tool exists, since it was at work
_OWN_ENDINGS = ("Timeout", "MemoryLimit", "ResultLimit", "CheckError", "SandboxError")


class MetricFacts(msgspec.Struct, frozen=True):
    """How the gateway is at this moment.

    ``servers`` are those that whoever asks may see, and ``queues`` the namespaces with limits that
    it may use: nothing is told about any other.
    """

    uptime_secs: float
    servers: Mapping[str, ServerHealth]
    pool: PoolStats
    queues: Mapping[str, Load] = msgspec.field(default_factory=dict)


class InFlight:
    """Counts what is under way: as many as are within a ``with`` of it."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> None:
        self.count += 1

    def __exit__(self, *_: object) -> None:
        self.count -= 1


class Durations:
    """A histogram: how many took at most so many seconds, for each of the bounds, and in all."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, secs: float) -> None:
        """Count one that took so long."""
        self._counts[bisect_left(self._bounds, secs)] += 1
        self.sum += secs

    def buckets(self) -> Iterator[tuple[float, int]]:
        """The bounds, and how many are within each; the last bound is infinite."""
        return zip((*self._bounds, float("inf")), accumulate(self._counts), strict=True)


class Metrics:
    """The counts since the start; ``in_flight``: of the requests that are being answered."""

    def __init__(self) -> None:
        self.calls: dict[ToolRef, Durations] = {}
        self.errors: Counter[tuple[str, str]] = Counter()  # by server and code
        self.executions: dict[str, Durations] = {}  # by outcome
        self.searches = 0
        self.in_flight = InFlight()

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

    def counted(self, run: RunCode) -> RunCode:
        """The same runner; what became of each script is counted."""

        async def counted_run(job: Job, call: CallTool) -> Outcome:
            outcome = await run(job, call)
            self.execution(outcome)
            return outcome

        return counted_run

    def execution(self, outcome: Outcome) -> None:
        """Count a script that has ended."""
        ending = _ending(outcome)
        if ending not in self.executions:
            self.executions[ending] = Durations(SCRIPT_SECONDS)
        self.executions[ending].observe(outcome.execution_time_ms / 1000)

    def searched(self) -> None:
        """Count a search."""
        self.searches += 1

    def expose(self, facts: MetricFacts) -> bytes:
        """All metrics as text, of content type ``CONTENT_TYPE``."""
        from mcproxy.observe.exposition import written  # noqa: PLC0415  for those who scrape

        return written(self, facts)

    def _count(self, ref: ToolRef, code: str | None, secs: float) -> None:
        if code in NO_SUCH_TOOL:  # the names are whatever was asked: they must not become labels
            self.errors["", code] += 1
            return
        if code:
            self.errors[ref.server, code] += 1
        durations = self.calls.get(ref)
        if durations is None:
            durations = self._new_durations(ref, code)
        durations.observe(secs)

    def _new_durations(self, ref: ToolRef, code: str | None) -> Durations:
        if code not in _SHOWS_THE_TOOL or len(self.calls) >= MAX_TOOLS:
            ref = ToolRef(ref.server, OTHER)
        return self.calls.setdefault(ref, Durations(CALL_SECONDS))


def _ending(outcome: Outcome) -> str:
    """The outcome as one of few words: the names of a script's own exceptions are its own."""
    if outcome.error is None:
        return "success"
    return outcome.error.type if outcome.error.type in _OWN_ENDINGS else "exception"


def telemetry_of(loaded: Loaded) -> "Telemetry | None":
    """What sends traces and metrics for OpenTelemetry; None where nobody asks for it.

    Raises ConfigError where the configuration asks for it and its library is not installed.
    """
    wanted, environment = loaded.config.telemetry, loaded.environment
    off = environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
    if wanted is False or off or not (wanted or any(map(environment.get, _RECEIVERS))):
        return None
    try:
        from mcproxy.observe.telemetry import Telemetry  # noqa: PLC0415 - an extra
    except ImportError as error:
        hint = f"{sys.executable} -m pip install 'mcproxy-gateway[otel]'"
        if not wanted:
            log.warning("OTEL_… names a receiver, but nothing can be sent: %s (%s)", error, hint)
            return None
        problem = Problem("telemetry", f"needs OpenTelemetry's SDK: {error}", hint)
        raise ConfigError(str(loaded.source or "configuration"), [problem]) from error
    none = {kind: environment.get(f"OTEL_{kind}_EXPORTER") == "none" for kind in _SIGNALS}
    return Telemetry(traces=not none["TRACES"], metrics=not none["METRICS"])


@contextlib.asynccontextmanager
async def ended(telemetry: "Telemetry | None") -> AsyncIterator[None]:
    """On leaving, what is left to be sent is sent, within a bounded time."""
    try:
        yield
    finally:
        if telemetry:
            await finish(telemetry.end(), END_SECS)
