"""Hooks around a refresh: named actions, commands, webhooks, and what fails."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mcproxy.config.hooks import HookSpec
from mcproxy.config.load import load_document
from mcproxy.errors import ConfigError
from mcproxy.manifest.hooks import HookFailed, Hooks
from mcproxy.types import Json

NAMED = HookSpec(name="note")


def command(code: str) -> HookSpec:
    """A hook that runs Python."""
    return HookSpec(command=(sys.executable, "-c", code))


def hooks(done: list[str]) -> Hooks:
    """Hooks with one named action, which leaves a mark."""

    async def note() -> None:
        done.append("note")

    return Hooks({"note": note}, os.environ)


@pytest.mark.requirement("hooks.forms")
async def test_named_actions_and_commands_run_in_order(tmp_path: Path) -> None:
    done: list[str] = []
    mark = tmp_path / "mark"
    code = f"import os; open({str(mark)!r}, 'w').write(os.environ['MCPROXY_EVENT'])"
    unknown = HookSpec(name="unknown")
    await hooks(done).run([unknown, NAMED, command(code), NAMED], "manual")
    assert done == ["note", "note"]
    assert mark.read_text() == "manual"


@pytest.mark.requirement("hooks.failure")
@pytest.mark.parametrize(
    ("hook", "words"),
    [
        (command("print('no disk'); raise SystemExit(3)"), "exit status 3: no disk"),
        (HookSpec(command=("/no/such/command",)), "No such file"),
        (HookSpec(webhook="http://127.0.0.1:9/s3cret"), "hook webhook: ConnectError"),
        (HookSpec(webhook="http://["), "hook webhook: InvalidURL"),
    ],
)
async def test_the_first_failure_ends_it_with_a_reason(hook: HookSpec, words: str) -> None:
    done: list[str] = []
    with pytest.raises(HookFailed) as caught:
        await hooks(done).run([hook, NAMED], "config_change")
    assert words in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert done == []


@pytest.mark.parametrize(("status", "fails"), [(204, False), (500, True)])
async def test_a_webhook_is_told_the_event(status: int, fails: bool) -> None:
    told: list[bytes] = []
    async with listening(told, status) as url:
        try:
            await hooks([]).run([HookSpec(webhook=url)], "config_change")
            assert not fails
        except HookFailed as error:
            assert fails
            assert "it answered 500" in str(error)
    assert b'"event":"config_change"' in told[0].replace(b" ", b"")


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


@pytest.mark.parametrize(
    ("hook", "good"),
    [
        ("health_check_all", True),
        ({"command": ["true"]}, True),
        ({"webhook": "https://example.org/x"}, True),
        ({}, False),
        ({"command": ["true"], "webhook": "https://example.org"}, False),
        ({"webhook": "ftp://example.org"}, False),
        ({"command": []}, False),
        (3, False),
    ],
)
def test_the_three_forms_load_and_nothing_else(hook: Json, good: bool) -> None:
    refresh: Json = {"refresh_event_hooks": {"pre_refresh": [hook]}}
    try:
        load_document({"manifests": refresh})
        assert good
    except ConfigError as error:
        assert not good
        assert "pre_refresh[0]" in str(error)
