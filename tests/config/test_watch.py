"""Changes of files are told, whichever way the file was changed."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import pytest

from mcproxy.reload import changes

WAIT_SECS = 10


def replace(path: Path) -> None:
    other = path.with_suffix(".new")
    other.write_text("replaced")
    other.rename(path)


def swap_link(path: Path) -> None:
    target = path.with_name("elsewhere")
    target.write_text("linked")
    path.unlink()
    path.symlink_to(target)


@pytest.mark.requirement("reload.noticed")
@pytest.mark.parametrize(
    "change", [lambda path: path.write_text("longer text"), replace, Path.unlink, swap_link]
)
async def test_each_way_to_change_a_file_is_told(
    tmp_path: Path, change: Callable[[Path], object]
) -> None:
    path, other = tmp_path / "mcproxy.json", tmp_path / ".env"
    path.write_text("text")
    watching = changes([path, other])
    async with asyncio.timeout(WAIT_SECS), asyncio.TaskGroup() as tasks:
        told = tasks.create_task(_next(watching))
        await asyncio.sleep(0)  # the first look
        change(path)
        await told
        again = tasks.create_task(_next(watching))
        await asyncio.sleep(0)
        other.write_text("A=1")
        await again
    await watching.aclose()


async def _next(watching: AsyncGenerator[None]) -> None:
    await anext(watching)
