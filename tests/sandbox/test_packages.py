"""Packages for scripts: with an installer that does as it is told, and with the real ones."""

import asyncio
import os
import stat
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from mcproxy.sandbox.installer import Installer, installer_environment
from mcproxy.sandbox.packages import Installed, Packages, PackagesUnavailable, key, modules
from mcproxy.sandbox.pool import Pool
from mcproxy.sandbox.profile import Profile
from mcproxy.types import Job, Level, Limits, Outcome
from tests.sandbox.walls import at, echo, is_running, settles, started

LIMITS = Limits(timeout_secs=20)
DEMO = ("demo>=1",)

# Notes each run, waits (in a child) while told to, then fails or installs one package.
UV = """#!/bin/sh
echo "$$ $*" >> "$UV_RUNS"
while [ $# -gt 0 ]; do [ "$1" = --target ] && target=$2; shift; done
[ -p "$UV_HOLD" ] && sh -c 'echo "$$ waits" >> "$UV_RUNS"; read line < "$UV_HOLD"; :'
if [ -n "$UV_FAULT" ]; then echo "resolving"; echo "error: $UV_FAULT" >&2; exit 2; fi
cd "$target" && mkdir demo demo-1.0.dist-info
echo "answer = 42" > demo/__init__.py
echo "answer = 43" > demo/late.py
printf 'Metadata-Version: 2.1\\nName: Demo\\nVersion: 1.0\\n' > demo-1.0.dist-info/METADATA
printf 'demo/__init__.py,,\\n' > demo-1.0.dist-info/RECORD
"""


@dataclass(frozen=True)
class Obedient:
    """The installer above, in a folder that it and the packages share."""

    folder: Path

    @property
    def hold(self) -> Path:
        return self.folder / "hold"

    def installer(self, fault: str = "") -> Installer:
        told = {"UV_RUNS": str(self.folder / "runs"), "UV_HOLD": str(self.hold), "UV_FAULT": fault}
        return Installer(str(self.folder / "uv"), {"PATH": os.defpath, **told})

    def packages(self, fault: str = "") -> Packages:
        return Packages(self.folder / "packages", self.installer(fault))

    def runs(self) -> int:
        """How often it was started."""
        return sum("install" in line for line in self.processes())

    def processes(self) -> list[str]:
        """Its process ids and those of its children, each with what it is for."""
        runs = self.folder / "runs"
        return runs.read_text().splitlines() if runs.exists() else []

    async def release(self) -> None:
        """Let a run go on that waits."""
        await asyncio.to_thread(self.hold.write_text, "go\n")


@pytest.fixture
def uv(tmp_path: Path) -> Obedient:
    for place in [tmp_path, *tmp_path.parents]:
        if place.is_relative_to("/tmp/"):
            place.chmod(place.stat().st_mode | 0o711)
    (tmp_path / "uv").write_text(UV)
    (tmp_path / "uv").chmod(0o755)
    return Obedient(tmp_path)


def test_the_commands() -> None:
    uv = Installer("/bin/uv", {}).command(["a", "b==1"], Path("/x"))
    assert uv[:3] == ["/bin/uv", "pip", "install"]
    pip = Installer(None, {}).command(["a", "b==1"], Path("/x"))
    assert pip[1:5] == ["-I", "-m", "pip", "install"]
    for command in (uv, pip):
        assert command[-5:] == ["--target", "/x", "--", "a", "b==1"]


def test_the_installer_sees_its_own_settings_and_no_secrets() -> None:
    own = {"PATH": "/bin", "UV_INDEX_URL": "u", "PIP_CERT": "c", "https_proxy": "p", "HOME": "/h"}
    assert installer_environment(own | {"GITHUB_TOKEN": "secret", "SSH_AUTH_SOCK": "s"}) == own


def test_which_installer_is_used(uv: Obedient) -> None:
    assert Installer.found({}, "/opt/uv").uv == "/opt/uv"
    found = Installer.found({"PATH": str(uv.folder)}).uv
    assert found
    assert Path(found).name == "uv"


def test_a_list_has_one_key_whatever_its_order() -> None:
    assert key(["a", "b"]) == key(["b", "a", "a"])
    assert key(["a", "b"]) != key(["a"]) != key(["a==1"])


def test_the_modules_of_a_distribution(tmp_path: Path) -> None:
    info = tmp_path / "My_Package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: My_Package\nVersion: 1.0\n")
    files = ["mine/__init__.py", "mine/deep/__init__.py", "single.py", "_private.py", "bin/tool"]
    files += ["fast.cpython-311-x86_64-linux-gnu.so", "mine.libs/x.so", "space/part/__init__.py"]
    (info / "RECORD").write_text("".join(f"{file},,\n" for file in files))
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    assert modules(tmp_path, ["my-package[extra]>=1"]) == ("fast", "mine", "single")
    assert modules(tmp_path, ["other"]) == ()


@pytest.mark.requirement("packages.background")
async def test_who_comes_too_early_is_told_so(uv: Obedient) -> None:
    os.mkfifo(uv.hold)
    async with uv.packages() as packages:
        for _ in range(2):
            with pytest.raises(PackagesUnavailable, match="still installing") as early:
                packages.get(DEMO)
            assert early.value.retryable
        await uv.release()
        installed = await packages.ensure(DEMO)
        assert packages.get(DEMO) == installed
    folder = uv.folder / "packages" / key(DEMO)
    assert installed == Installed((str(folder),), ("demo",))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    assert uv.runs() == 1
    assert sorted(path.name for path in folder.parent.iterdir()) == [
        folder.name,
        f"{folder.name}.lock",
    ]


@pytest.mark.requirement("packages.failed")
async def test_a_failure_says_why_and_is_not_tried_again_at_once(
    uv: Obedient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "mcproxy.packages")
    async with uv.packages(fault="there is no demo") as packages:
        for _ in range(2):
            with pytest.raises(PackagesUnavailable, match="error: there is no demo") as failed:
                await packages.ensure(DEMO)
            assert not failed.value.retryable
        raised = []
        for _ in range(3):
            with pytest.raises(PackagesUnavailable, match="error: there is no demo") as failed:
                packages.get(DEMO)
            raised.append(failed.value)
        assert len({id(each) for each in raised}) == 3  # one that is kept grows with each raise
    assert uv.runs() == 1
    assert "demo>=1: resolving" in [record.getMessage() for record in caplog.records]
    assert [path.suffix for path in (uv.folder / "packages").iterdir()] == [".lock"]


@pytest.mark.requirement("packages.failed")
async def test_an_installer_that_does_not_exist_is_named(tmp_path: Path) -> None:
    async with Packages(tmp_path, Installer("/does/not/exist", {})) as packages:
        with pytest.raises(PackagesUnavailable, match="/does/not/exist cannot be started"):
            await packages.ensure(DEMO)


@pytest.mark.requirement("packages.shared")
async def test_gateways_that_share_a_folder_install_once(uv: Obedient) -> None:
    os.mkfifo(uv.hold)
    left = uv.folder / "packages" / f".{key(DEMO)}-left"
    left.mkdir(parents=True)
    async with uv.packages() as one, uv.packages() as other, asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(packages.ensure(DEMO)) for packages in (one, other)]
        await settles(lambda: uv.runs() == 1)
        await uv.release()
        assert await waiting[0] == await waiting[1]
    assert uv.runs() == 1
    assert not left.exists()


async def test_leaving_stops_the_installer(uv: Obedient) -> None:
    os.mkfifo(uv.hold)
    async with uv.packages() as packages:
        with pytest.raises(PackagesUnavailable):
            packages.get(DEMO)
        await settles(lambda: len(uv.processes()) == 2)
    pids = [int(line.split()[0]) for line in uv.processes()]
    await settles(lambda: not any(map(is_running, pids)))
    assert [path.suffix for path in (uv.folder / "packages").iterdir()] == [".lock"]


@pytest.mark.parametrize("turns", range(2, 8))
async def test_an_installer_that_is_just_starting_is_stopped_with_its_children(
    uv: Obedient, turns: int
) -> None:
    os.mkfifo(uv.hold)
    (uv.folder / "to").mkdir()
    installing = asyncio.ensure_future(uv.installer().install(DEMO, uv.folder / "to"))
    for _ in range(turns):
        await asyncio.sleep(0)
    while len(uv.processes()) < 2:
        time.sleep(0.01)  # noqa: ASYNC251 - the event loop must not get on meanwhile
    installing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await installing
    pids = [int(line.split()[0]) for line in uv.processes()]
    await settles(lambda: not any(map(is_running, pids)))


@asynccontextmanager
async def pool_with(
    packages: Packages, requirements: tuple[str, ...], level: Level
) -> AsyncIterator[Pool]:
    profile = Profile(LIMITS, packages=requirements)
    async with packages, Pool(at(level), {"": profile}, packages=packages.get) as pool:
        await started(pool)
        yield pool


async def run(pool: Pool, source: str) -> Outcome:
    return await pool.run(Job(source, LIMITS), echo)


@pytest.mark.requirement("packages.background")
@pytest.mark.parametrize("level", ["strict", "hardened", "seccomp", "none"])
async def test_scripts_are_told_to_wait_and_then_import(uv: Obedient, level: Level) -> None:
    os.mkfifo(uv.hold)
    packages = uv.packages()
    async with pool_with(packages, DEMO, level) as pool:
        early = (await run(pool, "import demo")).error
        assert early
        assert (early.type, early.retryable) == ("SandboxError", True)
        assert "still installing" in early.message
        await uv.release()
        await packages.ensure(DEMO)
        later = await run(pool, "import demo; result = demo.answer")
        assert (later.error, later.value) == (None, 42)
        if level != "seccomp":  # where no file can be opened only what was imported ahead is there
            later = await run(pool, "import demo.late; result = demo.late.answer")
            assert (later.error, later.value) == (None, 43)
        changed = await run(pool, "import demo; open(demo.__file__, 'w')")
        assert level == "none" or changed.error
        hidden = Job("import demo", LIMITS, profile="other")
        pool.apply({"": Profile(LIMITS, packages=DEMO), "other": Profile(LIMITS)})
        error = (await pool.run(hidden, echo)).error
        assert error
        assert error.type == "ModuleNotFoundError"


@pytest.mark.requirement("packages.failed")
async def test_scripts_are_told_why_packages_cannot_be_installed(uv: Obedient) -> None:
    packages = uv.packages(fault="there is no demo")
    async with pool_with(packages, DEMO, "hardened") as pool:
        with pytest.raises(PackagesUnavailable):
            await packages.ensure(DEMO)
        error = (await run(pool, "result = 1")).error
    assert error
    assert (error.type, error.retryable) == ("SandboxError", False)
    assert "error: there is no demo" in error.message
    assert error.hint
    assert "sandbox.packages" in error.hint


async def or_skip(packages: Packages, requirements: tuple[str, ...]) -> Installed:
    """The installed list; the test is skipped where no registry can be reached."""
    try:
        return await packages.ensure(requirements)
    except PackagesUnavailable as reason:
        pytest.skip(reason.reason)


@pytest.mark.requirement("packages.installed")
@pytest.mark.parametrize("with_uv", [True, False], ids=["uv", "pip"])
async def test_a_real_package_is_installed(tmp_path: Path, with_uv: bool) -> None:
    found = Installer.found(dict(os.environ))
    if with_uv and not found.uv:
        pytest.skip("there is no uv")
    installer = found if with_uv else Installer(None, found.environment)
    async with Packages(tmp_path, installer) as packages:
        installed = await or_skip(packages, ("iniconfig>=2",))
    assert installed.modules == ("iniconfig",)
    assert (Path(installed.path[0]) / "iniconfig" / "__init__.py").exists()


NUMPY = """
import numpy, os
made = numpy.random.default_rng(7).random((200, 200))
assert os.cpu_count()
product = made @ numpy.linalg.inv(made)
result = {"trace": round(float(product.trace())), "random": float(numpy.random.random())}
"""


@pytest.mark.requirement("packages.installed")
@pytest.mark.timeout(180)
async def test_numpy_works_within_the_usual_memory(uv: Obedient) -> None:
    for level in ("strict", "hardened"):
        packages = Packages(uv.folder / "real", Installer.found(dict(os.environ)))
        async with pool_with(packages, ("numpy",), level) as pool:
            await or_skip(packages, ("numpy",))
            outcomes = [await run(pool, NUMPY) for _ in range(3)]
            assert [outcome.error for outcome in outcomes] == [None] * 3
            values = [outcome.value for outcome in outcomes]
            assert [isinstance(v, dict) and v["trace"] for v in values] == [200] * 3
            assert len({isinstance(v, dict) and str(v["random"]) for v in values}) == 3
            too_much = (await run(pool, "import numpy; numpy.ones(1 << 27)")).error
            assert too_much
            assert too_much.type == "MemoryLimit"
