"""Hooks where this machine has no means to start a process: told in words, and tried again."""

import asyncio
import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mcproxy import hooks, shortage
from mcproxy.config.hooks import HookSpec
from mcproxy.hooks import HookFailed, Hooks, Occasion
from tests.shortages import descriptors_left

BOUND_SECS = 20.0
LOOK_SECS = 0.02
ROOT = Path(__file__).parents[1]
TOUCH = HookSpec(command=("/bin/sh", "-c", "true"))


@pytest.mark.requirement("shortage.again")
@pytest.mark.parametrize("free", [0, 1, 2, 5, 12])
async def test_a_hook_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, free: int
) -> None:
    monkeypatch.setattr(shortage, "SCARCE_SECS", 0.05)
    one = Hooks({}, os.environ)
    with descriptors_left(free) as end:
        task = asyncio.get_running_loop().create_task(one.run([TOUCH], Occasion("manual")))
        async with asyncio.timeout(BOUND_SECS):
            while "tried again" not in caplog.text:  # noqa: ASYNC110  the log tells nobody
                await asyncio.sleep(LOOK_SECS)
            end()
            await task
    assert "ulimit -n" in caplog.text


LACKS = pytest.mark.parametrize(
    ("number", "words"), [(errno.ENFILE, "fs.file-max"), (errno.ENOMEM, "no memory left")]
)


@pytest.mark.requirement("shortage.again")
@LACKS
async def test_what_the_whole_machine_lacks_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int, words: str
) -> None:
    monkeypatch.setattr(shortage, "SCARCE_SECS", 0.05)
    lacks = [OSError(number, os.strerror(number))]

    async def start(_: Occasion) -> None:
        while lacks:
            raise lacks.pop()

    async with asyncio.timeout(BOUND_SECS):
        await Hooks({"start": start}, {}).run([HookSpec(name="start")], Occasion("manual"))
    assert words in caplog.text
    assert "tried again" in caplog.text


@pytest.mark.requirement("shortage.again")
async def test_a_hook_that_cannot_be_started_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shortage, "SCARCE_SECS", 1.0)
    monkeypatch.setattr(hooks, "HOOK_SECS", 3.0)
    with descriptors_left(1), pytest.raises(HookFailed, match="ulimit -n") as failed:
        await Hooks({}, os.environ).run([TOUCH], Occasion("manual"))
    assert failed.value.scarce


@pytest.mark.requirement("shortage.again")
def test_a_hook_without_a_process_to_be_had_says_so() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _NO_PROCESS],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "ulimit -u" in done.stdout, done.stderr


_NO_PROCESS = """
import asyncio, os, resource, uvloop
from mcproxy import hooks, shortage
from mcproxy.config.hooks import HookSpec

shortage.SCARCE_SECS, hooks.HOOK_SECS = 1.0, 3.0

async def main():
    run = hooks.Hooks({}, {}).run
    await run([HookSpec(command=("/bin/true",))], hooks.Occasion("manual"))  # all is imported
    resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
    if os.getuid() == 0:
        os.setuid(65534)  # no limit counts for root
    try:
        await run([HookSpec(command=("/bin/true",))], hooks.Occasion("manual"))
    except hooks.HookFailed as error:
        print(error, error.scarce)

with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(main())
"""
