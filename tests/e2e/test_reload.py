"""The configuration changes while the program serves."""

import concurrent.futures
import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import psutil
import pytest

from mcproxy.types import Json, JsonObject
from tests.e2e.gateways import Running, echo, gateway

WITHIN_SECS = 10.0  # the promise is 2 s; a busy machine gets more
PAUSE_SECS = 0.05
ADD = 'api.server("{}").add(a=1, b=1)["sum"]'

T = TypeVar("T")


def rewrite(directory: Path, config: JsonObject) -> None:
    """Change the file as editors do: a new one takes the place of the old."""
    draft = directory / "draft"
    draft.write_text(json.dumps(config))
    draft.rename(directory / "mcproxy.json")


def until(running: Running, condition: Callable[[JsonObject], T]) -> T:
    """Ask for the health until it is as the condition wants it."""
    end = time.monotonic() + WITHIN_SECS
    while True:
        health = running.http.get("/health").json()
        found = condition(health)
        if found:
            return found
        assert time.monotonic() < end, health
        time.sleep(PAUSE_SECS)


def server(health: JsonObject, name: str) -> JsonObject:
    """What the health says of one server; empty where it is not known."""
    servers = health["servers"]
    assert isinstance(servers, dict)
    found = servers.get(name, {})
    assert isinstance(found, dict)
    return found


def ready(running: Running, name: str) -> int:
    """Wait for a server; its process id."""

    def pid(health: JsonObject) -> int | None:
        found = server(health, name)
        return int(str(found["pid"])) if found.get("state") == "ready" else None

    found = until(running, pid)
    assert found
    return found


@pytest.mark.requirement("reload.servers")
def test_only_what_changed_starts_anew(tmp_path: Path) -> None:
    config: JsonObject = {"servers": {"same": echo(), "changed": echo(), "removed": echo()}}
    with gateway(tmp_path, config) as running:
        same, changed, removed = (ready(running, name) for name in ("same", "changed", "removed"))
        other: JsonObject = {**echo(), "env": {"NEW": "yes"}}
        rewrite(tmp_path, {"servers": {"same": echo(), "changed": other, "added": echo()}})
        ready(running, "added")
        until(running, lambda health: server(health, "changed").get("pid") not in (None, changed))
        assert ready(running, "same") == same
        assert running.run('api.server("changed").env()["NEW"]')["result"] == "yes"
        assert running.run(ADD.format("added"))["result"] == 2
        assert not server(running.http.get("/health").json(), "removed")
        error = running.run(ADD.format("removed"))["error"]
        assert isinstance(error, dict)
        assert "no server 'removed'" in str(error["message"])
        _, alive = psutil.wait_procs([psutil.Process(pid) for pid in _living(changed, removed)], 20)
        assert alive == []


def _living(*pids: int) -> Iterator[int]:
    return (pid for pid in pids if psutil.pid_exists(pid))


@pytest.mark.requirement("reload.invalid")
@pytest.mark.parametrize(
    ("text", "words"),
    [("{", "mcproxy.json"), ('{"servers": {"echo": {"comand": "x"}}}', "did you mean")],
)
def test_an_invalid_file_changes_nothing_and_is_reported(
    tmp_path: Path, text: str, words: str
) -> None:
    config: JsonObject = {"servers": {"echo": echo()}}
    with gateway(tmp_path, config) as running:
        pid = ready(running, "echo")
        (tmp_path / "mcproxy.json").write_text(text)
        refused = until(running, lambda health: health.get("config"))
        assert words in str(refused)
        assert ready(running, "echo") == pid
        assert running.run(ADD.format("echo"))["result"] == 2
        rewrite(tmp_path, config)
        until(running, lambda health: "config" not in health)
        assert ready(running, "echo") == pid


@pytest.mark.requirement("reload.next_start")
def test_what_counts_from_the_next_start_on_is_told(tmp_path: Path) -> None:
    config: JsonObject = {"servers": {"echo": echo()}}
    with gateway(tmp_path, config) as running:
        fixed: JsonObject = {"min_level": "none", "pool_size": 1, "uv_path": "/usr/bin/uv"}
        rewrite(tmp_path, {**config, "sandbox": fixed, "audit": {"file": "audit.jsonl"}})
        until(running, lambda _: "loaded anew" in running.logged.text)
        for setting in (*(f"sandbox.{name}" for name in fixed), "audit"):
            assert running.logged.says(f"{setting} has changed: it counts from the next start on")
        assert not (tmp_path / "audit.jsonl").exists()


@pytest.mark.requirement("reload.rules")
def test_namespaces_and_tokens_apply_at_once_and_servers_stay(tmp_path: Path) -> None:
    config: JsonObject = {"servers": {"echo": {**echo(), "namespace": "own"}}}
    with gateway(tmp_path, {**config, "namespaces": {"own": []}}) as running:
        pid = ready(running, "echo")
        code = ADD.format("echo")
        assert running.run(code, namespace="own")["result"] == 2
        script = _in_background(running, 'api.server("echo").sleep(secs=4)\n' + code)
        with script as outcome:
            until(running, lambda _: _calls(running, "own") == 1)
            auth: Json = {"tokens": [{"name": "a", "token": "s3cret", "namespaces": ["own"]}]}
            guarded: JsonObject = {"own": {"require_auth": True}}
            rewrite(tmp_path, {**config, "namespaces": guarded, "auth": auth})
            until(running, lambda health: not server(health, "echo"))
            assert "result" not in running.run(code, namespace="own")
            assert outcome.result()["result"] == 2
        headers = {"Authorization": "Bearer s3cret"}
        health = running.http.get("/health", headers=headers).json()
        assert server(health, "echo")["pid"] == pid


@contextmanager
def _in_background(running: Running, code: str) -> Iterator[concurrent.futures.Future[JsonObject]]:
    with concurrent.futures.ThreadPoolExecutor() as pool:
        yield pool.submit(running.run, code, namespace="own")


def _calls(running: Running, namespace: str) -> Json:
    counted = running.run('api.server("echo").counter()["calls"]', namespace=namespace)
    return 1 if counted["result"] not in (0, 1) else 0


@pytest.mark.requirement("reload.hangup")
def test_sighup_reloads_and_no_reload_stops_the_watching(tmp_path: Path) -> None:
    with gateway(tmp_path, {"servers": {"one": echo()}}, "--no-reload") as running:
        ready(running, "one")
        rewrite(tmp_path, {"servers": {"two": echo()}})
        assert server(running.http.get("/health").json(), "one")
        running.process.send_signal(signal.SIGHUP)
        ready(running, "two")
        assert not server(running.http.get("/health").json(), "one")


def test_sighup_without_a_file_does_no_harm(tmp_path: Path) -> None:
    with gateway(tmp_path, None) as running:
        running.process.send_signal(signal.SIGHUP)
        ready(running, "calc")


@pytest.mark.requirement("reload.dotenv")
def test_a_variable_in_dotenv_configures_its_server(tmp_path: Path) -> None:
    asks: JsonObject = {**echo(), "env": {"KEY": "${MCPROXY_TEST_KEY}"}}
    with gateway(tmp_path, {"servers": {"asks": asks, "same": echo()}}) as running:
        pid = ready(running, "same")
        state = server(running.http.get("/health").json(), "asks")["state"]
        assert state == "unconfigured"
        (tmp_path / ".env").write_text("MCPROXY_TEST_KEY=found\n")
        ready(running, "asks")
        assert running.run('api.server("asks").env()["KEY"]')["result"] == "found"
        assert ready(running, "same") == pid


@pytest.mark.requirement("hooks.refresh")
def test_a_failing_hook_before_the_refresh_stops_it(tmp_path: Path) -> None:
    def config(name: str, *hooks: Json) -> JsonObject:
        around: Json = {"pre_refresh": list(hooks), "events": ["config_change", "manual"]}
        refresh: Json = {"refresh_event_hooks": around}
        return {"servers": {name: echo()}, "manifests": refresh}

    veto: Json = {"command": ["/bin/sh", "-c", f"echo not now; test -e {tmp_path}/go"]}
    with gateway(tmp_path, config("one", "health_check_all", veto)) as running:
        ready(running, "one")
        rewrite(tmp_path, config("two"))
        refused = until(running, lambda health: health.get("config"))
        assert "not now" in str(refused)
        assert ready(running, "one")
        (tmp_path / "go").touch()
        running.process.send_signal(signal.SIGHUP)
        ready(running, "two")


@pytest.mark.requirement("upstream.remembered")
def test_search_finds_remembered_tools_while_the_server_starts(tmp_path: Path) -> None:
    config: JsonObject = {"servers": {"slow": echo("--delay", "3")}}
    with gateway(tmp_path, config) as running:
        ready(running, "slow")
    with gateway(tmp_path, {**config, "manifests": {"startup_dwell_secs": 0}}) as running:
        found = running.tool("search", query="add numbers")
        (group,) = _list(found["results"])
        assert group["state"] == "starting"
        assert next(tool["name"] for tool in _list(group["matched_tools"])) == "add"
        assert running.run(ADD.format("slow"))["result"] == 2  # it waits for the server


def _list(value: Json) -> list[JsonObject]:
    assert isinstance(value, list)
    return [one for one in value if isinstance(one, dict)]
