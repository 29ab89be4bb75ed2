"""A machine that has nothing but Python: one line installs, then a newcomer's first commands, and
the service of systemd.

The wheel is that of the checkout, all else comes from the index of packages; once installed, there
is no network any more.
"""

import json
import os
import threading
import time
from pathlib import Path

import pytest

from tests.deploy.podman import Podman, Typed, installed, machine
from tests.e2e.gateways import ROOT

pytestmark = [pytest.mark.container, pytest.mark.timeout(1500)]

SECRET = "ghp_abcdefghijklmnopqrstuvwxyz0123456789"
BOOT_SECS = 60
LOOK_SECS = 0.2
# Where the version 2 of control groups is not the one at its usual place.
UNIFIED = Path("/sys/fs/cgroup/unified")


@pytest.mark.requirement("install.bare_machine")
@pytest.mark.parametrize("user", [0, 1000], ids=["root", "ordinary"])
def test_from_nothing_to_the_first_search_and_back(
    empty: Podman, debian: str, opt: Path, wheel: Path, tmp_path: Path, user: int
) -> None:
    folder = "/home/ada" if user else "/opt"
    theirs = tmp_path / ".cursor/mcp.json"
    theirs.parent.mkdir()
    python = f"{folder}/mcproxy/bin/python"
    server = {"command": python, "args": ["-P", "-m", "mcproxy.demo.calc"], "env": {"KEY": SECRET}}
    before = f'{{\n\t"mcpServers": {{"mine": {json.dumps(server)}}}\n}}'.encode()
    theirs.write_bytes(before)
    for path in (tmp_path, theirs.parent, theirs):
        os.chown(path, user, user)
    if user:
        installed(empty, debian, wheel, f"{tmp_path}:{folder}", user)
    own = ("--user", str(user), "--env", "HOME=/home/ada", "--workdir", "/home/ada")
    mounts = ("--volume", f"{opt}:/opt:ro", "--volume", f"{tmp_path}:/home/ada")
    mcproxy = f"{folder}/mcproxy/bin/mcproxy"
    with machine(empty, debian, *own, *mounts, start="sleep infinity") as typed:
        assert SECRET not in typed(f"{mcproxy} connect cursor").stdout
        entry = json.loads(theirs.read_text())["mcpServers"]
        assert [*entry] == ["mcproxy"]
        assert entry["mcproxy"]["command"] == mcproxy
        found = typed(f"{mcproxy} search convert units", secs=60).stdout
        assert "convert_units" in found
        assert "all good" in typed(f"{mcproxy} doctor").stdout
        typed(f"{mcproxy} connect cursor --undo")
    assert theirs.read_bytes() == before
    assert theirs.stat().st_uid == user
    assert not list((tmp_path / "config").iterdir())


@pytest.mark.requirement("deploy.unit_runs")
def test_the_unit_runs_under_systemd(empty: Podman, debian: str, opt: Path) -> None:
    """Started, reloaded, killed, stopped, and started with a configuration that is refused."""
    groups = ("--cgroupns", "host", "--volume", f"{UNIFIED}:/sys/fs/cgroup")
    options = (
        *("--privileged", "--systemd", "always", *(groups if UNIFIED.exists() else ())),
        *("--volume", f"{opt}:/opt:ro", "--volume", f"{ROOT / 'deploy'}:/deploy:ro"),
    )
    calc = {"command": "/opt/mcproxy/bin/python", "args": ["-P", "-m", "mcproxy.demo.calc"]}
    config = "/etc/mcproxy/mcp-servers.json"
    with machine(empty, debian, *options, start="/lib/systemd/systemd") as typed:
        until(typed, "systemctl is-system-running", "running", "degraded")
        typed("useradd --system --home-dir /var/lib/mcproxy --shell /usr/sbin/nologin mcproxy")
        typed(
            "install -d -g mcproxy /etc/mcproxy && cp /deploy/mcproxy.service /etc/systemd/system/"
        )
        written(typed, config, {"servers": {"calc": calc}})
        typed("systemctl daemon-reload && systemctl enable --now mcproxy.service")
        until(typed, state("calc"), "ready")
        [report] = [json.loads(typed(STATUS).stdout)]
        assert report["sandbox"]["level"] == "strict"

        written(typed, config, {"servers": {"other": calc}})
        typed("systemctl reload mcproxy")
        until(typed, state("other"), "ready")

        gateway = "$(cat /proc/$(systemctl show -P MainPID mcproxy)/task/*/children)"
        typed(f"kill -9 {gateway}")
        until(typed, "systemctl show -P NRestarts mcproxy", "1")
        until(typed, state("other"), "ready")

        typed("systemctl stop mcproxy")
        assert shown(typed, "Result", "ExecMainStatus") == ["success", "0"]
        workers = "cat /proc/*/cmdline | tr '\\0' ' ' | grep -c 'mcproxy[.]sandbox'"
        assert typed(workers, ok=False).stdout == "0\n"

        written(typed, config, {"servres": {}})
        typed("systemctl start mcproxy", ok=False)
        until(typed, "systemctl is-active mcproxy", "failed")
        assert shown(typed, "ExecMainStatus", "NRestarts") == ["78", "0"]
        assert "did you mean 'servers'?" in typed("journalctl --no-pager -u mcproxy").stdout


STATUS = "/opt/mcproxy/bin/mcproxy status --json --url http://127.0.0.1:12010"


def state(server: str) -> str:
    """The line that prints how a server is."""
    pick = f"import json, sys; print(json.load(sys.stdin)['servers']['{server}']['state'])"
    return f'{STATUS} | python3 -c "{pick}"'


def shown(typed: Typed, *properties: str) -> list[str]:
    return [typed(f"systemctl show -P {name} mcproxy").stdout.strip() for name in properties]


def written(typed: Typed, path: str, config: object) -> None:
    typed(
        f"cat > {path} <<'END'\n{json.dumps(config)}\nEND\nchgrp mcproxy {path}; chmod 640 {path}"
    )


def until(typed: Typed, line: str, *wanted: str) -> None:
    """The first time that the line prints what is wanted."""
    pause, end = threading.Event(), time.monotonic() + BOOT_SECS
    while (done := typed(line, ok=False)).stdout.strip() not in wanted:
        assert time.monotonic() < end, done.stdout + done.stderr
        pause.wait(LOOK_SECS)
