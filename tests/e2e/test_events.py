"""What happens to servers while the gateway runs, and the hooks that an operator has for it."""

import signal
from pathlib import Path

import pytest

from mcproxy.types import Json, JsonObject
from tests.e2e.gateways import Running, echo, gateway
from tests.e2e.test_reload import ready, rewrite, server, until


def shell(script: str) -> Json:
    """A hook that runs a line of shell."""
    return {"command": ["/bin/sh", "-c", script]}


def config(events: list[Json] | None, **hooks: list[Json]) -> JsonObject:
    """A configuration with the server ``echo``, whose tools can grow, and with hooks."""
    listed: JsonObject = {} if events is None else {"events": events}
    return {
        "servers": {"echo": echo("--list-changed")},
        "manifests": {"refresh_event_hooks": {**hooks, **listed}},
    }


def grow(running: Running) -> str:
    """Have the server declare one more tool; its name."""
    return str(running.run('api.server("echo").grow()["added"]')["result"])


def until_found(running: Running, tool: str) -> None:
    """Wait, bounded, until clients see the tool."""
    until(running, lambda _: tool in seen(running))


def seen(running: Running) -> str:
    """What clients see of the server."""
    return str(running.call("tools/list", path="/message?mode=direct"))


@pytest.mark.requirement("hooks.held_back")
def test_a_changed_tool_list_waits_for_the_hook_that_refuses_it(tmp_path: Path) -> None:
    veto = shell(f"echo $MCPROXY_EVENT >>{tmp_path}/events; echo closed; test ! -e {tmp_path}/veto")
    with gateway(tmp_path, config(["tools_changed"], pre_refresh=[veto])) as running:
        ready(running, "echo")
        until_found(running, "grow")
        (tmp_path / "veto").touch()
        kept = grow(running)
        told = until(running, lambda health: health.get("config"))
        assert "exit status 1: closed" in str(told)
        assert kept not in seen(running)
        (tmp_path / "veto").unlink()
        until_found(running, grow(running))
        assert kept in seen(running)
        until(running, lambda health: "config" not in health)
        assert running.logged.says("a refresh is refused")
    assert set((tmp_path / "events").read_text().split()) == {"tools_changed"}


@pytest.mark.requirement("hooks.events")
def test_a_server_that_crashes_is_an_event(tmp_path: Path) -> None:
    note = shell(f"echo $MCPROXY_EVENT >>{tmp_path}/events")
    events: list[Json] = ["server_health"]
    with gateway(tmp_path, config(events, post_refresh=["restart_failed", note])) as running:
        ready(running, "echo")
        until(running, lambda _: (tmp_path / "events").exists())
        (tmp_path / "events").unlink()
        running.run('api.server("echo").crash()')
        until(running, lambda _: (tmp_path / "events").exists())
        until(running, lambda health: server(health, "echo")["restarts"] == 1)
        rewrite(tmp_path, config(None))
        until(running, lambda _: "loaded anew" in running.logged.text)
    assert set((tmp_path / "events").read_text().split()) == {"server_health"}


@pytest.mark.requirement("hooks.startup")
def test_a_hook_that_refuses_the_start_is_told_and_the_gateway_serves(tmp_path: Path) -> None:
    veto = shell(f"echo $MCPROXY_EVENT; test -e {tmp_path}/go")
    with gateway(tmp_path, config(None, pre_refresh=[veto])) as running:
        ready(running, "echo")
        assert "exit status 1: startup" in str(running.http.get("/health").json()["config"])
        assert running.run('api.server("echo").add(a=1, b=1)["sum"]')["result"] == 2
        (tmp_path / "go").touch()
        running.process.send_signal(signal.SIGHUP)
        until(running, lambda health: "config" not in health)


@pytest.mark.requirement("hooks.bounded")
def test_a_hook_that_hangs_holds_up_neither_other_events_nor_the_end(tmp_path: Path) -> None:
    hangs = shell(f"touch {tmp_path}/begun; setsid sleep 60 & sleep 600")
    with gateway(tmp_path, config(None, post_refresh=[hangs])) as running:
        ready(running, "echo")
        until(running, lambda _: (tmp_path / "begun").exists())
        until_found(running, grow(running))
    assert "after the refresh" not in running.logged.text
