"""What is done before a server's process starts, and what becomes of the start when it fails."""

import json
import sys
from pathlib import Path

import psutil
import pytest

from mcproxy.types import Json, JsonObject
from tests.test_hooks import listening
from tests.upstream.fleets import SERVERS, Watched, running, server


def shell(script: str) -> Json:
    """A hook that runs a line of shell."""
    return {"command": ["/bin/sh", "-c", script]}


def echo(*hooks: Json) -> JsonObject:
    """The server ``echo`` with these hooks."""
    return server("echo.py", refresh_hooks={"pre_start": [*hooks]})


def started(watched: Watched, name: str = "echo") -> int:
    """The process of a server that is ready."""
    health = watched.fleet.health()[name]
    assert health.state == "ready", health
    assert health.pid
    return health.pid


async def crash(watched: Watched) -> None:
    """Kill the server and wait until it is up again."""
    psutil.Process(started(watched)).kill()
    await watched.until("echo", lambda health: health.restarts == 1 and health.state == "ready")


@pytest.mark.requirement("hooks.pre_start")
async def test_hooks_run_before_each_start_and_know_the_server(tmp_path: Path) -> None:
    told: list[bytes] = []
    note = shell(f"echo $MCPROXY_EVENT $MCPROXY_SERVER >>{tmp_path}/note")
    async with listening(told, 204) as url, running(echo=echo(note, {"webhook": url})) as watched:
        await crash(watched)
    assert (tmp_path / "note").read_text() == "pre_start echo\n" * 2
    assert [json.loads(body) for body in told] == [{"event": "pre_start", "server": "echo"}] * 2


@pytest.mark.requirement("hooks.pre_start")
async def test_a_hook_that_fails_makes_the_start_fail_with_its_reason(tmp_path: Path) -> None:
    veto = shell(f"echo no image; test -e {tmp_path}/go")
    async with running(echo=echo(veto), other=server("echo.py")) as watched:
        failed = await watched.until("echo", lambda health: health.state == "restarting")
        assert failed.last_error == "pre_start hook command '/bin/sh': exit status 1: no image"
        assert failed.pid is None
        assert started(watched, "other")
        (tmp_path / "go").touch()
        assert (await watched.until("echo", lambda health: health.state == "ready")).restarts


@pytest.mark.requirement("hooks.no_restart")
async def test_other_hooks_count_from_the_next_start_on(tmp_path: Path) -> None:
    async with running(echo=echo()) as watched:
        pid = started(watched)
        watched.apply(echo=echo(shell(f"touch {tmp_path}/note")))
        assert started(watched) == pid
        assert not (tmp_path / "note").exists()
        await crash(watched)
        assert (tmp_path / "note").exists()


@pytest.mark.requirement("hooks.pull_image")
@pytest.mark.parametrize("program", ["docker", "podman", "other"])
async def test_an_image_is_pulled_where_that_is_asked_for(tmp_path: Path, program: str) -> None:
    command = tmp_path / program
    said = tmp_path / "said"
    command.write_text(
        f'#!/bin/sh\necho "$@" >>{said}\nexec {sys.executable} {SERVERS / "echo.py"}\n'
    )
    command.chmod(0o755)
    image: JsonObject = {"command": str(command), "args": ["run", "-i", "image"]}
    pulled: JsonObject = {**image, "refresh_hooks": {"pre_start": ["pull_image"]}}
    async with running(echo=image) as watched:
        watched.apply(echo=pulled)
        await crash(watched)
    pulls = "" if program == "other" else "--pull=always "
    assert said.read_text() == f"run -i image\nrun {pulls}-i image\n"
