"""Traces and metrics for OpenTelemetry: real gateways and servers, a receiver of OTLP/HTTP."""

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from mcproxy.types import Json, JsonObject
from tests.e2e.gateways import MAIN, echo, gateway
from tests.upstream.openapi.described import description, written
from tests.upstream.remote.remotes import listening

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
META: JsonObject = {
    "traceparent": f"00-{TRACE}-{PARENT}-01",
    "tracestate": "rojo=1",
    "baggage": "shop=7",
}
SECRET = "a value that nobody is told"


class Receiver:
    """What a gateway has sent."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.metrics: dict[str, int] = {}
        self.texts: list[str] = []
        self.url = ""

    def take(self, path: str, body: bytes) -> None:
        """Read one request."""
        if path == "/v1/traces":
            traces = ExportTraceServiceRequest.FromString(body)
            self.texts.append(str(traces))
            for resource in traces.resource_spans:
                for scope in resource.scope_spans:
                    self.spans += scope.spans
        elif path == "/v1/metrics":
            metrics = ExportMetricsServiceRequest.FromString(body)
            self.texts.append(str(metrics))
            for one in metrics.resource_metrics:
                for each in one.scope_metrics:
                    for metric in each.metrics:
                        counts = (point.count for point in metric.histogram.data_points)
                        self.metrics[metric.name] = sum(counts)

    def one(self, name: str) -> Span:
        """The only span of this name."""
        (found,) = [span for span in self.spans if span.name == name]
        return found

    def below(self, parent: Span) -> list[str]:
        """The names of the spans within another."""
        return [span.name for span in self.spans if span.parent_span_id == parent.span_id]


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver that listens."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.take(self.path, body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Stay silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()


def variables(receiver: Receiver) -> dict[str, str]:
    """What a gateway is told of it, uncompressed so that it can be read."""
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_SERVICE_NAME": "test"}


SCRIPT = f"""
api.echo.echo(text={SECRET!r})
try:
    api.echo.fail(message={SECRET!r})
except ToolError:
    pass
return api.api.op()["headers"]
"""


@pytest.mark.requirement("telemetry.traces")
@pytest.mark.requirement("telemetry.context")
@pytest.mark.requirement("telemetry.metrics")
def test_requests_executions_and_calls_are_traced(tmp_path: Path) -> None:
    shown: JsonObject = {"content": {"application/json": {"schema": {"type": "object"}}}}
    document = description({"/op": {"get": {"operationId": "op", "responses": {"200": shown}}}})
    with receiving() as receiver, listening("api.py") as url:
        servers: JsonObject = {
            "echo": echo(),
            "api": {"openapi": written(tmp_path, document), "base_url": url},
        }
        with gateway(tmp_path, {"servers": servers}, environment=variables(receiver)) as running:
            arguments: JsonObject = {"code": SCRIPT}
            call: JsonObject = {"name": "execute", "arguments": arguments, "_meta": META}
            done = running.call("tools/call", call)
            running.call("tools/call", {"name": "execute", "arguments": {"code": "raise Fault"}})
    assert isinstance(done, dict)
    headers = done["structuredContent"]["result"]  # type: ignore[index,call-overload]
    (request,) = [span for span in receiver.spans if span.parent_span_id.hex() == PARENT]
    assert (request.name, request.kind) == ("tools/call", Span.SPAN_KIND_SERVER)
    (execution,) = [span for span in receiver.spans if span.parent_span_id == request.span_id]
    assert receiver.below(execution) == ["echo.echo", "echo.fail", "api.op"]
    mine = [request, execution, *map(receiver.one, receiver.below(execution))]
    assert {span.trace_id.hex() for span in mine} == {TRACE}
    # The server is told of the call's span, in HTTP's own way where it speaks that.
    sent = receiver.one("api.op").span_id.hex()
    assert headers["traceparent"] == f"00-{TRACE}-{sent}-01"  # type: ignore[index,call-overload]
    assert headers["tracestate"] == "rojo=1"  # type: ignore[index,call-overload]
    assert headers["baggage"] == "shop=7"  # type: ignore[index,call-overload]
    failed = {span.name: span.status.code for span in mine if span.status.code}
    assert failed == {"echo.fail": 2}
    assert SECRET not in "".join(receiver.texts)
    assert receiver.metrics["mcproxy.call.duration"] == 3
    assert receiver.metrics["mcproxy.execution.duration"] == 2
    assert receiver.metrics["mcproxy.request.duration"] >= 2


@pytest.mark.requirement("telemetry.context")
def test_the_context_passes_without_telemetry(tmp_path: Path) -> None:
    shown: JsonObject = {"content": {"application/json": {"schema": {"type": "object"}}}}
    document = description({"/op": {"get": {"operationId": "op", "responses": {"200": shown}}}})
    with listening("api.py") as url:
        server: JsonObject = {"openapi": written(tmp_path, document), "base_url": url}
        with gateway(tmp_path, {"servers": {"api": server}}) as running:
            arguments: JsonObject = {"code": 'return api.api.op()["headers"]'}
            call: JsonObject = {"name": "execute", "arguments": arguments, "_meta": META}
            done = running.call("tools/call", call)
            assert isinstance(done, dict)
            told = str(done["structuredContent"])
            assert str(META["traceparent"]) in told
            assert "shop=7" in told


@pytest.mark.requirement("telemetry.end")
@pytest.mark.parametrize("kind", ["gone", "silent"])
def test_a_receiver_that_does_not_answer_holds_up_no_end(tmp_path: Path, kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1] if kind == "silent" else 9
        where = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}"}
        with gateway(tmp_path, {"servers": {}}, environment=where) as running:  # its end is bounded
            assert running.tool("execute", code="return 1")["result"] == 1


@pytest.mark.requirement("telemetry.extra")
@pytest.mark.parametrize("wanted", [True, None])
def test_without_its_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: Json) -> None:
    (tmp_path / "opentelemetry.py").write_text("raise ImportError('No module named that')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    config: JsonObject = {"servers": {}, "telemetry": wanted}
    if wanted is None:
        with gateway(tmp_path, config, anew=True) as running:
            assert running.logged.says("nothing can be sent: No module named that")
        return
    (tmp_path / "mcproxy.json").write_text(json.dumps(config))
    command = [sys.executable, str(MAIN), "--port", "0"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 78
    assert "telemetry: needs OpenTelemetry's SDK" in done.stderr
    assert "-m pip install 'mcproxy-gateway[otel]'" in done.stderr


@pytest.mark.requirement("telemetry.off")
@pytest.mark.parametrize(
    ("config", "environment", "loaded"),
    [
        ("", {}, False),
        ("'telemetry': False", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}, False),
        ("", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_SDK_DISABLED": "true"}, False),
        ("", {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:9"}, True),
        ("'telemetry': True", {}, True),
    ],
)
def test_nothing_is_loaded_where_nobody_asks(
    config: str, environment: dict[str, str], loaded: bool
) -> None:
    code = (
        "import sys, json; from msgspec.structs import replace; from mcproxy import serve; "
        "from mcproxy.config.load import load_document; "
        "from mcproxy.observe.metrics import telemetry_of; "
        f"found = replace(load_document({{{config}}}), environment={environment!r}); "
        "telemetry_of(found); print(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == str(loaded)
