"""The sandbox where this machine has no means to start a process: it costs no level, counts as no
attempt, and a script is told so."""

import asyncio
import errno
import os
import subprocess
from pathlib import Path

import pytest

from mcproxy import shortage
from mcproxy.sandbox import pool as pools
from mcproxy.sandbox.installer import Installer
from mcproxy.sandbox.jail.walls import Own
from mcproxy.sandbox.packages import Packages, PackagesUnavailable
from mcproxy.sandbox.pool import Pool, PoolSettings
from mcproxy.sandbox.profile import Profile, walls_for
from mcproxy.sandbox.worker_pool import STARTS
from mcproxy.sandbox.zygote_process import Zygote, ZygoteFailed
from mcproxy.types import Level, Outcome
from tests.sandbox.walls import SMALL, pool_at, run
from tests.shortages import descriptors_left, fill

BOUND_SECS = 30.0
LOOK_SECS = 0.02


def _is_told(outcome: Outcome) -> bool:
    error = outcome.error
    return error is not None and "ulimit -n" in error.message and bool(error.retryable)


@pytest.mark.requirement("shortage.again")
@pytest.mark.parametrize("free", [0, 1, 2, 5, 12])
async def test_a_script_without_walls_is_told(free: int) -> None:
    settings = PoolSettings(level="none", min_level="none")
    async with Pool(settings, {"": Profile(limits=SMALL)}) as pool:
        await pool.start()
        with descriptors_left(free):
            outcome = await run(pool, "1")
        assert _is_told(outcome), outcome
        assert (await run(pool, "1")).value == 1


@pytest.mark.requirement("shortage.again")
@pytest.mark.parametrize("level", ["strict", "hardened"])
async def test_a_script_without_a_worker_is_told(level: Level) -> None:
    async with pool_at(level, size=0) as pool:
        with descriptors_left(0):
            outcome = await run(pool, "1")
        assert _is_told(outcome), outcome
        assert (await run(pool, "1")).value == 1


@pytest.mark.requirement("shortage.again")
async def test_no_attempt_of_a_zygote_is_counted() -> None:
    async with pool_at("hardened", size=0) as pool:
        (lane,) = pool._lanes.values()
        await lane._end_life()
        with descriptors_left(0):
            for _ in range(STARTS + 1):
                assert _is_told(await run(pool, "1"))
        assert (await run(pool, "1")).value == 1


@pytest.mark.requirement("shortage.again")
@pytest.mark.parametrize(
    ("number", "words"), [(errno.ENFILE, "fs.file-max"), (errno.ENOMEM, "no memory left")]
)
async def test_what_the_whole_machine_lacks_for_a_zygote_is_told(
    monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    async with pool_at("hardened", size=0) as pool:
        (lane,) = pool._lanes.values()
        await lane._end_life()
        with monkeypatch.context() as scarce:
            scarce.setattr(subprocess, "Popen", refused)
            for _ in range(STARTS + 1):
                outcome = await run(pool, "1")
                assert outcome.error
                assert words in outcome.error.message
                assert outcome.error.retryable
        assert (await run(pool, "1")).value == 1


@pytest.mark.requirement("shortage.again")
async def test_a_shortage_at_the_start_costs_no_level(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with Pool(PoolSettings(size=0), {"": Profile(limits=SMALL)}) as usual:
        best = (await usual.start()).level
    monkeypatch.setattr(pools, "SCARCE_SECS", 0.1)
    async with Pool(PoolSettings(size=0), {"": Profile(limits=SMALL)}) as pool:
        with descriptors_left(0) as end:
            starting = asyncio.get_running_loop().create_task(pool.start())
            async with asyncio.timeout(BOUND_SECS):
                while "the sandbox waits" not in caplog.text:  # noqa: ASYNC110
                    await asyncio.sleep(LOOK_SECS)
                end()
                assert (await starting).level == best


@pytest.mark.requirement("shortage.again")
async def test_packages_are_installed_later(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setattr(shortage, "SCARCE_SECS", 0.05)
    installer = tmp_path / "uv"
    installer.write_text("#!/bin/sh\ntrue\n")
    installer.chmod(0o755)
    async with Packages(tmp_path / "packages", Installer(str(installer), {})) as packages:
        with descriptors_left(0) as end:
            packages.begin(["demo"])
            async with asyncio.timeout(BOUND_SECS):
                while "tried again" not in caplog.text:  # noqa: ASYNC110
                    await asyncio.sleep(LOOK_SECS)
                with pytest.raises(PackagesUnavailable) as told:
                    packages.get(["demo"])
                end()
                await packages.ensure(["demo"])
    assert told.value.retryable


@pytest.mark.requirement("shortage.again")
async def test_a_worker_whose_descriptor_is_lost_is_told() -> None:
    zygote, _ = await Zygote.start(walls_for(Profile(limits=SMALL), "seccomp"), lambda: None)
    try:
        with descriptors_left(2):
            asked = asyncio.get_running_loop().create_task(zygote.spawn(Own(None)))
            await asyncio.sleep(0)  # it has been asked for
            taken = fill()
            with pytest.raises(ZygoteFailed, match="ulimit -n"):
                await asked
            for one in taken:
                os.close(one)
        (await zygote.spawn(Own(None))).close()
    finally:
        await zygote.close()
