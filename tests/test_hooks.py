"""Hooks: named actions, commands, webhooks, and what fails."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from mcproxy.config.hooks import HookSpec
from mcproxy.config.load import load_document
from mcproxy.errors import ConfigError
from mcproxy.hooks import HookFailed, Hooks, Occasion
from mcproxy.types import Json, JsonObject

NAMED = HookSpec(name="note")
MOST_BYTES = 64 << 20


def command(code: str) -> HookSpec:
    """A hook that runs Python."""
    return HookSpec(command=(sys.executable, "-c", code))


def hooks(done: list[str]) -> Hooks:
    """Hooks with one named action, which leaves a mark."""

    async def note(_: Occasion) -> None:
        done.append("note")

    return Hooks({"note": note}, os.environ)


@pytest.mark.requirement("hooks.forms")
async def test_named_actions_and_commands_run_in_order(tmp_path: Path) -> None:
    done: list[str] = []
    mark = tmp_path / "mark"
    code = f"import os; open({str(mark)!r}, 'w').write(os.environ['MCPROXY_EVENT'])"
    manual = Occasion("manual")
    unknown = HookSpec(name="unknown")
    await hooks(done).run([unknown, NAMED, command(code), NAMED], manual)
    assert done == ["note", "note"]
    assert mark.read_text() == "manual"


@pytest.mark.requirement("hooks.failure")
@pytest.mark.parametrize(
    ("hook", "words"),
    [
        (command("print('no disk'); raise SystemExit(3)"), "exit status 3: no disk"),
        (command("raise SystemExit(3)"), "exit status 3"),
        (HookSpec(command=("/no/such/command",)), "No such file"),
        (HookSpec(webhook="http://127.0.0.1:9/s3cret"), "config_change hook webhook: ConnectError"),
    ],
)
async def test_the_first_failure_ends_it_with_a_reason(hook: HookSpec, words: str) -> None:
    done: list[str] = []
    with pytest.raises(HookFailed) as caught:
        await hooks(done).run([hook, NAMED], Occasion("config_change"))
    assert words in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert done == []


@pytest.mark.requirement("hooks.output")
async def test_a_command_that_never_stops_talking_fills_no_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mcproxy.hooks.HOOK_SECS", 2.0)
    before = psutil.Process().memory_info().rss
    with pytest.raises(HookFailed, match="not done after 2 s"):
        await hooks([]).run([HookSpec(command=("yes",))], Occasion("manual"))
    assert psutil.Process().memory_info().rss - before < MOST_BYTES
    code = f"print('x' * {MOST_BYTES}); print('the last line'); raise SystemExit(3)"
    with pytest.raises(HookFailed, match=r"exit status 3: the last line$"):
        await hooks([]).run([command(code)], Occasion("manual"))


@pytest.mark.requirement("hooks.output")
async def test_what_a_command_leaves_running_holds_up_nothing(tmp_path: Path) -> None:
    """It has a session of its own, so that it is not ended, and the command's output is open."""
    mark = tmp_path / "pid"
    code = f"""
import pathlib, subprocess
left = subprocess.Popen(["sleep", "1000"], start_new_session=True)
pathlib.Path({str(mark)!r}).write_text(str(left.pid))
print("mounted", flush=True)
"""
    await hooks([]).run([command("print(1)")], Occasion("manual"))  # the loop opens its own once
    opened = psutil.Process().num_fds()
    try:
        await hooks([]).run([command(code)], Occasion("manual"))
    finally:
        os.kill(int(mark.read_text()), signal.SIGKILL)
    async with asyncio.timeout(10):
        while psutil.Process().num_fds() > opened:  # noqa: ASYNC110  nobody tells of it
            await asyncio.sleep(0.05)


async def test_a_webhook_is_told_the_event_and_its_server() -> None:
    told: list[bytes] = []
    async with listening(told, 204) as url:
        await hooks([]).run([HookSpec(webhook=url)], Occasion("config_change"))
        await hooks([]).run([HookSpec(webhook=url)], Occasion("pre_start", "echo"))
    assert [json.loads(body) for body in told] == [
        {"event": "config_change"},
        {"event": "pre_start", "server": "echo"},
    ]
    async with listening(told, 500) as url:
        with pytest.raises(HookFailed, match="it answered 500"):
            await hooks([]).run([HookSpec(webhook=url)], Occasion("config_change"))


@asynccontextmanager
async def listening(told: list[bytes], status: int) -> AsyncIterator[str]:
    """An HTTP server that keeps what it is told."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        told.append(await reader.readexactly(size))
        writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


def refresh(hook: Json) -> JsonObject:
    """A configuration with one hook."""
    return {"manifests": {"refresh_event_hooks": {"pre_refresh": [hook]}}}


@pytest.mark.parametrize(
    "hook",
    ["health_check_all", {"command": ["true"]}, {"webhook": "https://example.org/x"}],
)
def test_three_forms_load(hook: Json) -> None:
    assert len(load_document(refresh(hook)).config.manifests.refresh_event_hooks.pre_refresh) == 1


@pytest.mark.parametrize(
    "hook",
    [
        {},
        {"command": ["true"], "webhook": "https://example.org"},
        {"webhook": "ftp://example.org"},
        {"command": []},
        3,
    ],
)
def test_other_forms_are_refused(hook: Json) -> None:
    with pytest.raises(ConfigError, match=r"pre_refresh\[0\]"):
        load_document(refresh(hook))
