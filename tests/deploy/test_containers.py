"""The image and what starts it, run for real: Podman, podman-compose, the quadlets' generator."""

import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from mcproxy.types import Json, JsonObject
from tests.deploy.podman import (
    IMAGE,
    LIMITS,
    SECCOMP,
    Podman,
    certificates,
    trust,
)
from tests.e2e.gateways import ROOT, facts

# The first test builds the image.
pytestmark = [pytest.mark.container, pytest.mark.timeout(1500)]

START_SECS = 90
DOWNLOAD_SECS = 240  # npx and uvx fetch their servers
LOOK_SECS = 0.2
PUBLISHED = ("--publish", "127.0.0.1::12010")
MOST_CHECKS = 10  # three in a row count; none within the start period, and each takes 4 s
COMPOSE = "podman-compose==1.6.0"
COMPOSE_SECS = 120


def asked(address: str, method: str, params: JsonObject) -> JsonObject:
    """The result of one request."""
    body: JsonObject = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    reply = httpx.post(f"{address}/message", json=body, timeout=60, trust_env=False).json()
    result = reply["result"]
    assert isinstance(result, dict)
    return result


def executed(address: str, code: str) -> JsonObject:
    return facts(asked(address, "tools/call", {"name": "execute", "arguments": {"code": code}}))


def health_of(address: str) -> JsonObject:
    """What /health says; empty while nobody answers."""
    try:
        report: JsonObject = httpx.get(f"{address}/health", timeout=10, trust_env=False).json()
    except httpx.TransportError:
        return {}
    return report


def until(address: str, condition: Callable[[JsonObject], bool], secs: float) -> JsonObject:
    """The first report of /health that is as wanted."""
    pause, end = threading.Event(), time.monotonic() + secs
    while not condition(report := health_of(address)):
        assert time.monotonic() < end, report
        pause.wait(LOOK_SECS)
    return report


def ready(*servers: str) -> Callable[[JsonObject], bool]:
    """Whether all of these servers are."""

    def are(report: JsonObject) -> bool:
        known = report.get("servers")
        return isinstance(known, dict) and all(
            isinstance(one := known.get(name), dict) and one["state"] == "ready" for name in servers
        )

    return are


def level(report: JsonObject) -> Json:
    sandbox = report["sandbox"]
    assert isinstance(sandbox, dict)
    return sandbox["level"]


@pytest.mark.requirement("deploy.image")
@pytest.mark.requirement("deploy.levels")
def test_confined_as_the_files_say_it_serves(run: Podman) -> None:
    with run.container(*PUBLISHED, *SECCOMP) as name:
        address = run.address(name)
        report = until(address, ready("calc", "notes"), START_SECS)
        assert level(report) == "strict"
        found = asked(
            address, "tools/call", {"name": "search", "arguments": {"query": "convert units"}}
        )
        structured = found["structuredContent"]
        assert isinstance(structured, dict)
        assert structured["total_matches"]
        code = 'api.server("calc").convert_units(value=1, from_unit="mi", to_unit="km")["value"]'
        assert executed(address, code)["result"] == 1.609344
        assert run("exec", name, "id", "-u").stdout.strip() == "10001"
        assert run("exec", name, "touch", "/opt/mcproxy/x", ok=False).returncode
        status = run("exec", name, "cat", "/proc/1/status").stdout
        assert "CapEff:\t0000000000000000" in status
        assert "NoNewPrivs:\t1" in status


@pytest.mark.requirement("deploy.levels")
def test_under_the_default_profile_it_is_hardened(run: Podman) -> None:
    with run.container(*PUBLISHED) as name:
        report = until(run.address(name), ready("calc", "notes"), START_SECS)
        assert level(report) == "hardened"
        assert executed(run.address(name), "6 * 7")["result"] == 42


@pytest.mark.requirement("deploy.servers")
def test_servers_of_npx_and_uvx_are_added_through_the_mount(run: Podman, tmp_path: Path) -> None:
    calc: JsonObject = {"command": "python3", "args": ["-P", "-m", "mcproxy.demo.calc"]}
    downloaded: JsonObject = {
        "time": {"command": "uvx", "args": ["mcp-server-time"]},
        "everything": {
            "command": "npx",
            "args": ["-y", "@modelcontextprotocol/server-everything"],
        },
    }
    folder = tmp_path / "config"
    folder.mkdir(mode=0o755)
    file = folder / "mcp-servers.json"
    file.write_text(json.dumps({"servers": {"calc": calc}}))
    variables = [part for name, value in trust().items() for part in ("--env", f"{name}={value}")]
    mounts = ("--volume", f"{folder}:/app/config:ro", *certificates())
    with run.container(*PUBLISHED, *mounts, *variables) as name:
        address = run.address(name)
        until(address, ready("calc"), START_SECS)
        file.write_text(json.dumps({"servers": {"calc": calc, **downloaded}}))
        until(address, ready("calc", *downloaded), DOWNLOAD_SECS)
        code = (
            'now = api.server("time").get_current_time(timezone="UTC")\n'
            'api.server("everything").echo(message=now["timezone"])'
        )
        assert "UTC" in str(executed(address, code)["result"])


@pytest.mark.requirement("deploy.stop")
def test_it_ends_in_time_with_status_0(run: Podman) -> None:
    with run.container(*PUBLISHED) as name:
        until(run.address(name), ready("calc"), START_SECS)
        run("stop", "--time", "10", name)  # then SIGKILL, which is status 137
        assert run.inspect(name, "{{.State.ExitCode}}") == "0"


@pytest.mark.requirement("deploy.health")
def test_the_health_check_sees_a_gateway_that_hangs(run: Podman) -> None:
    with run.container(*PUBLISHED) as name:
        until(run.address(name), ready("calc"), START_SECS)
        assert run("healthcheck", "run", name, ok=False).returncode == 0
        # Process 1 is the guardian; its only child is the gateway.
        [gateway] = run("exec", name, "cat", "/proc/1/task/1/children").stdout.split()
        stop = "import os, sys; os.kill(int(sys.argv[1]), int(sys.argv[2]))"
        run("exec", name, "python3", "-c", stop, gateway, "19")
        for _ in range(MOST_CHECKS):
            assert run("healthcheck", "run", name, ok=False).returncode == 1
            if run.inspect(name, "{{.State.Healthcheck.Status}}") == "unhealthy":
                break
        else:
            pytest.fail("it is never found unhealthy")
        run("exec", name, "python3", "-c", stop, gateway, "18")
        assert run("healthcheck", "run", name, ok=False).returncode == 0
        assert run.inspect(name, "{{.State.Healthcheck.Status}}") == "healthy"


@pytest.mark.requirement("deploy.memory")
def test_a_greedy_script_ends_within_the_containers_limit(run: Podman) -> None:
    with run.container(*PUBLISHED, *SECCOMP) as name:
        address = run.address(name)
        until(address, ready("calc", "notes"), START_SECS)
        outcome = executed(address, "keep = [bytearray(1 << 20) for _ in range(2000)]")
        assert "MemoryLimit" in json.dumps(outcome)
        assert executed(address, "1 + 1")["result"] == 2
        assert run.inspect(name, "{{.HostConfig.Memory}}") == str(512 << 20)
        assert run.inspect(name, "{{.State.OOMKilled}}") == "false"
        # What a server may do: the kernel ends it, and nothing else.
        hog = run("exec", name, "python3", "-c", "bytearray(600 << 20)", ok=False)
        assert hog.returncode == 137
        assert executed(address, "1 + 1")["result"] == 2


@pytest.mark.requirement("deploy.compose")
@pytest.mark.requirement("seed.commands")
def test_podman_compose_up(run: Podman, tmp_path: Path) -> None:
    """The commands of the README, in a copy of what they use."""
    for file in ("podman-compose.yml", "mcp-servers.v2.example.json", ".env.example"):
        shutil.copy(ROOT / file, tmp_path)
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    (tmp_path / "config").mkdir()
    shutil.copy(tmp_path / "mcp-servers.v2.example.json", tmp_path / "config/mcp-servers.json")
    with socket.create_server(("127.0.0.1", 0)) as free:
        (tmp_path / ".env").write_text(f"MCPROXY_PORT={free.getsockname()[1]}\n")
    compose = compose_command(run)

    def up(*words: str) -> None:
        subprocess.run([*compose, *words], cwd=tmp_path, check=True, timeout=COMPOSE_SECS)

    try:
        up("up", "-d")
        [name] = run("ps", "--quiet", "--filter", f"ancestor={IMAGE}").stdout.split()
        report = until(run.address(name), ready("calc"), START_SECS)
        assert level(report) == "strict"
    finally:
        up("down")


def compose_command(run: Podman) -> list[str]:
    """podman-compose as users call it, with what this machine needs besides."""
    uvx = Path(sys.executable).with_name("uvx")
    command = [str(uvx), "--quiet", "--from", COMPOSE, "podman-compose"]
    probe = (
        subprocess.run([*command, "--help"], capture_output=True, check=False)
        if uvx.exists()
        else None
    )
    if probe is None or probe.returncode:
        pytest.skip("podman-compose cannot be had: no uvx, or no registry of packages")
    limits = " ".join(LIMITS)
    return [*command, "--podman-path", str(run.program), f"--podman-run-args={limits}"]


@pytest.mark.requirement("deploy.quadlet")
def test_the_generator_takes_the_quadlet(empty: Podman, debian: str, tmp_path: Path) -> None:
    shutil.copy(ROOT / "mcproxy.container", tmp_path)
    mount = f"{tmp_path}:/etc/containers/systemd:ro"
    made = empty(
        *("run", "--rm", "--network", "none", *LIMITS, "--volume", mount, debian),
        *("/usr/libexec/podman/quadlet", "-dryrun"),
    )
    [start] = [line for line in made.stdout.splitlines() if line.startswith("ExecStart=")]
    for option in ("--read-only", "--cap-drop all", "--memory=512m", "no-new-privileges"):
        assert option in start
    assert "seccomp=/etc/mcproxy/seccomp.json" in start


@pytest.mark.requirement("deploy.unit")
def test_systemd_takes_the_unit(empty: Podman, debian: str) -> None:
    """In Debian's own tree, where the program's path and user are made first."""
    prepared = (
        "useradd --system mcproxy && mkdir -p /opt/mcproxy/bin"
        " && ln -s /bin/true /opt/mcproxy/bin/mcproxy"
        " && systemd-analyze verify /unit/mcproxy.service"
        " && systemd-analyze security --offline=true --no-pager --threshold=40"
        " /unit/mcproxy.service"
    )
    mount = f"{ROOT / 'deploy'}:/unit:ro"
    made = empty(
        *("run", "--rm", "--network", "none", *LIMITS, "--volume", mount, debian),
        *("sh", "-c", prepared),
    )
    assert not made.stderr.strip()
