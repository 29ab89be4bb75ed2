"""What an operator sees: metrics, the record of calls, and no secret anywhere."""

import json
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mcproxy.types import JsonObject
from tests.e2e.gateways import SERVERS, Running, echo, gateway
from tests.e2e.test_reload import server, until

CANARY = "correct-horse-battery-staple"


@pytest.mark.requirement("http.metrics")
def test_metrics_count_calls_and_scripts(served: Running) -> None:
    served.run('api.server("echo").add(a=1, b=2)')
    told = served.http.get("/metrics")
    assert told.headers["content-type"].startswith("text/plain")
    assert 'mcproxy_call_seconds_count{server="echo",tool="add"}' in told.text
    assert 'mcproxy_server_state{server="echo",state="ready"} 1.0' in told.text
    assert "vault" not in told.text
    assert served.http.get("/metrics", headers={"Host": "evil.example"}).status_code == 403


@pytest.mark.requirement("observe.sandbox")
@pytest.mark.parametrize("options", [(), ("--log",)])
def test_the_log_tells_of_the_sandbox_and_of_what_it_blocks(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    with gateway(tmp_path, {"servers": {"echo": echo()}}, *options) as running:
        level = running.http.get("/health").json()["sandbox"]["level"]
        running.run(f"password = '{CANARY}'\nimport subprocess")
    text = running.logged.text
    (started,) = [line for line in text.splitlines() if f"sandbox: level {level}" in line]
    (blocked,) = [line for line in text.splitlines() if "blocked" in line]
    assert "INFO" in started
    assert "INFO" in blocked
    assert "sandbox: a script in namespace public is blocked before it runs, line 2" in blocked
    assert "import of subprocess" in blocked
    assert CANARY not in text


@pytest.mark.requirement("metrics.searches")
def test_searches_of_clients_and_scripts_are_counted(tmp_path: Path) -> None:
    with gateway(tmp_path, {"servers": {"echo": echo()}}) as running:
        running.tool("search", query="add")
        running.run('api.search("add")')
        assert "fault" in running.tool("search", query="add", limit="many")
        assert "mcproxy_searches_total 2.0" in running.http.get("/metrics").text


@pytest.mark.requirement("metrics.queue")
def test_what_is_under_way_is_counted(tmp_path: Path) -> None:
    with gateway(tmp_path, {"servers": {"echo": echo()}}) as running, ThreadPoolExecutor() as pool:
        script = pool.submit(running.run, 'api.server("echo").sleep(secs=2)')
        until(running, lambda _: "executions_running 1.0" in running.http.get("/metrics").text)
        assert "mcproxy_requests_in_flight 1.0" in running.http.get("/metrics").text
        assert script.result()["status"] == "success"
        told = running.http.get("/metrics").text
    assert "mcproxy_requests_in_flight 0.0" in told
    assert "mcproxy_executions_running 0.0" in told
    assert "mcproxy_executions_waiting 0.0" in told
    assert "mcproxy_zygote_restarts_total 0.0" in told


@pytest.mark.requirement("metrics.family")
def test_memory_is_that_of_the_process_and_all_that_it_started(tmp_path: Path) -> None:
    child = f"{sys.executable} -c \"import signal; held = b'x' * (80 << 20); signal.pause()\" &"
    script = f"{child} exec {sys.executable} {SERVERS / 'echo.py'}"
    config: JsonObject = {"servers": {"heavy": {"command": "/bin/sh", "args": ["-c", script]}}}
    with gateway(tmp_path, config) as running:
        until(running, lambda health: float(str(server(health, "heavy")["rss_mb"] or 0)) > 80)
        told = running.http.get("/metrics").text
    found = re.search(r"resident_memory_bytes{server=.heavy.} (\S+)", told)
    assert found
    assert float(found[1]) > 80 << 20


@pytest.mark.requirement("audit.in_force")
def test_each_script_and_call_leaves_a_line_without_values(tmp_path: Path) -> None:
    config: JsonObject = {"servers": {"echo": echo()}, "audit": {"file": "audit.jsonl"}}
    with gateway(tmp_path, config) as running:
        running.run(f'api.server("echo").echo(text="{CANARY}")')
        running.run('api.server("echo")[str("nothing")]()')  # only the run can tell
    text = (tmp_path / "audit.jsonl").read_text()
    lines: list[Any] = [json.loads(line) for line in text.splitlines()]
    assert [(line["event"], line["outcome"]) for line in lines] == [
        ("call", "ok"),
        ("execution", "success"),
        ("call", "unknown_tool"),
        ("execution", "ToolError"),
    ]
    assert CANARY not in text
    first, second = lines[0]["execution"], lines[2]["execution"]
    assert [line["execution"] for line in lines] == [first, first, second, second]
    assert first != second, "each has a name of its own"


@pytest.mark.requirement("observe.calls")
def test_a_call_in_the_log_is_found_in_the_audit_file(tmp_path: Path) -> None:
    config: JsonObject = {"servers": {"echo": echo()}, "audit": {"file": "audit.jsonl"}}
    with gateway(tmp_path, config, "--log") as running:
        running.run(f'api.server("echo").echo(text="{CANARY}")')
    first = json.loads((tmp_path / "audit.jsonl").read_text().splitlines()[0])
    text = running.logged.text
    (line,) = [line for line in text.splitlines() if "echo.echo: ok" in line]
    assert f"call={first['call']} " in line
    assert f"execution={first['execution']} " in line
    assert CANARY not in text


@pytest.mark.requirement("observe.fields")
def test_a_line_about_a_server_names_it_in_a_field(tmp_path: Path) -> None:
    with gateway(tmp_path, {"servers": {"gone": {"command": "/no/such/command"}}}) as running:
        until(running, lambda health: server(health, "gone")["state"] == "failed")
        until(running, lambda _: "given up" in running.logged.text)
    lines: list[Any] = [json.loads(line) for line in running.logged.text.splitlines()]
    (told,) = [line for line in lines if "given up" in line["message"]]
    assert (told["server"], told["level"]) == ("gone", "ERROR")


@pytest.mark.requirement("observe.masked")
def test_a_secret_is_told_nowhere(tmp_path: Path) -> None:
    loud = "import os, sys; sys.exit('cannot log in with ' + os.environ['KEY'])"
    config: JsonObject = {
        "servers": {
            "loud": {"command": sys.executable, "args": ["-c", loud], "env": {"KEY": "${KEY}"}},
            "echo": echo(),
        }
    }
    with gateway(tmp_path, config, environment={"KEY": CANARY}) as running:
        script = running.run('api.server("loud").anything()')  # waits until it has failed
        while "cannot log in" not in (health := running.http.get("/health").text):
            assert CANARY not in health
    assert "cannot log in with ***" in health
    assert "cannot log in with ***" in str(script)
    assert CANARY not in health + str(script)
    assert CANARY not in running.logged.text


@pytest.mark.requirement("observe.errors")
def test_an_error_that_passes_through_tells_no_secret(tmp_path: Path) -> None:
    given: JsonObject = {"code": -32050, "message": f"no {CANARY}", "data": [CANARY]}
    config: JsonObject = {"servers": {"echo": {**echo(), "env": {"KEY": "${KEY}"}}}}
    with gateway(tmp_path, config, environment={"KEY": CANARY}) as running:
        called: JsonObject = {"name": "echo__rpc_error", "arguments": given}
        told = running.call("tools/call", called, "/mcp?mode=direct")
    assert told == {"code": -32050, "message": "no ***", "data": ["***"]}


@pytest.mark.requirement("observe.tool_errors")
def test_a_tool_that_refuses_tells_a_script_no_secret(tmp_path: Path) -> None:
    config: JsonObject = {"servers": {"echo": {**echo(), "env": {"KEY": "${KEY}"}}}}
    with gateway(tmp_path, config, environment={"KEY": CANARY}) as running:
        refused = running.run(f'api.server("echo").fail(message="no {CANARY}")')
        given = running.run(f'api.server("echo").text(text="{CANARY}")')
    error = refused["error"]
    assert isinstance(error, dict)
    assert "no ***" in str(error["message"])
    assert given["result"] == CANARY


@pytest.mark.requirement("health.repairs")
def test_a_mended_tool_is_named_with_the_reason(tmp_path: Path) -> None:
    with gateway(tmp_path, {"servers": {"echo": echo("--odd")}}) as running:
        while not (told := running.http.get("/health").json()["servers"]["echo"])["tools"]:
            assert told["state"] == "starting"
    assert any(line.startswith("int_type: ") for line in told["repaired_tools"]), told


@pytest.mark.requirement("cli.open_bind")
def test_an_open_address_without_auth_is_warned_about(tmp_path: Path) -> None:
    with gateway(tmp_path, {}, "--host", "0.0.0.0") as running:
        assert running.logged.says("without any auth")
