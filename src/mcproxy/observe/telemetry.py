"""Traces and metrics for OpenTelemetry, sent over OTLP/HTTP; loaded where they are asked for only.

The SDK and its exporter do the work: a span or a measure is put into a queue, and threads of their
own send it. Where to, how often, with which headers and how many of them is said by the standard
variables (``OTEL_EXPORTER_OTLP_ENDPOINT``, ``OTEL_TRACES_SAMPLER`` and so on), which the SDK reads
itself. Nothing global is set: two gateways in one process share nothing.
"""

import asyncio
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

import msgspec
from msgspec.structs import replace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.metrics import Histogram
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

import mcproxy
from mcproxy import mcp
from mcproxy.exchange import Exchange
from mcproxy.exchange import SpanKind as Kind

END_SECS = 5.0  # for what is left to be sent; a receiver that is gone holds up no end
MAX_CONTEXT_CHARS = 8_192  # of each member: W3C demands 512 of ``tracestate``, and bounds baggage
_SERVICE = "mcproxy"
_KINDS: Mapping[Kind, SpanKind] = {
    "request": SpanKind.SERVER,
    "execution": SpanKind.INTERNAL,
    "call": SpanKind.CLIENT,
}
DURATIONS: Mapping[Kind, tuple[str, str]] = {
    "request": ("mcproxy.request.duration", "Time to answer a client's request."),
    "execution": ("mcproxy.execution.duration", "Time of a script."),
    "call": ("mcproxy.call.duration", "Time of a call of a server's tool."),
}
"""The histograms, in seconds: each has what its spans tell, and ``error.type`` of what failed."""

_propagator = TraceContextTextMapPropagator()


class _TracedSpan(msgspec.Struct):
    """A span that is open."""

    span: Span
    exchange: Exchange
    error: str = ""

    def failed(self, code: str) -> None:
        self.error = code
        self.span.set_attribute("error.type", code)
        self.span.set_status(Status(StatusCode.ERROR))


class Telemetry:
    """What sends traces and metrics of one gateway, until ``end``."""

    def __init__(self, *, traces: bool = True, metrics: bool = True) -> None:
        resource = Resource.create({"service.version": mcproxy.__version__})
        if resource.attributes.get("service.name") in (None, "unknown_service"):
            resource = resource.merge(Resource({"service.name": _SERVICE}))
        self._traces = TracerProvider(resource=resource, shutdown_on_exit=False)
        if traces:
            self._traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        readers = [PeriodicExportingMetricReader(OTLPMetricExporter())] if metrics else []
        self._metrics = MeterProvider(readers, resource, shutdown_on_exit=False)
        self._tracer = self._traces.get_tracer(_SERVICE, mcproxy.__version__)
        meter = self._metrics.get_meter(_SERVICE, mcproxy.__version__)
        self._durations: Mapping[Kind, Histogram] = {
            kind: meter.create_histogram(name, "s", about)
            for kind, (name, about) in DURATIONS.items()
        }

    @contextmanager
    def begin(
        self, kind: Kind, name: str, exchange: Exchange, about: Mapping[str, str]
    ) -> Iterator[_TracedSpan]:
        """Begin a span, as ``BeginSpan`` says; its parent is what the exchange names."""
        started = time.monotonic()
        span = self._tracer.start_span(
            name,
            _context_of(exchange),
            _KINDS[kind],
            dict(about),
            record_exception=False,
            set_status_on_exception=False,
        )
        traced = _TracedSpan(span, _within(span, exchange))
        try:
            yield traced
        finally:
            span.end()
            told = {**about, "error.type": traced.error} if traced.error else dict(about)
            self._durations[kind].record(time.monotonic() - started, told)

    async def end(self) -> None:
        """Send what is left, within END_SECS; whatever takes longer is lost.

        The thread is a daemon: those of the event loop are waited for, however long they take.
        """
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def work() -> None:
            self._traces.shutdown()
            self._metrics.shutdown(END_SECS * 1000)
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(done.set)

        threading.Thread(target=work, name="telemetry", daemon=True).start()
        with suppress(TimeoutError):
            async with asyncio.timeout(END_SECS):
                await done.wait()


def _context_of(exchange: Exchange) -> Context:
    """The context that the request's ``_meta`` names; an empty one where it names none."""
    carrier = {
        key: value
        for key in mcp.META_TRACE
        if isinstance(value := exchange.meta.get(key), str) and len(value) <= MAX_CONTEXT_CHARS
    }
    return _propagator.extract(carrier, Context())


def _within(span: Span, exchange: Exchange) -> Exchange:
    """The exchange with the span in its ``_meta``; baggage stays as it came."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier, set_span_in_context(span, Context()))
    kept = {key: value for key, value in exchange.meta.items() if key not in mcp.META_TRACE[:2]}
    return replace(exchange, meta={**kept, **carrier})
