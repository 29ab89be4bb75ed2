"""What a profile shows of the host: read_only, read_write, denied, packages, the network hooks."""

import asyncio
import socket
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest
from msgspec.structs import replace

from mcproxy.sandbox import process_runner
from mcproxy.sandbox.pool import Pool
from mcproxy.sandbox.profile import Profile
from mcproxy.types import Job, Level, Limits
from tests.sandbox.walls import LEVELS, SMALL, at, echo, pool_at, run, started


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
async def test_denied_paths_are_hidden_and_the_innermost_path_wins(data: Path) -> None:
    secret = data / "secret"
    profile = Profile(
        limits=SMALL,
        read_only=(str(data), str(secret / "shown"), "/does/not/exist"),
        denied=(str(secret), str(data / "open"), "/home", str(data / "absent")),
    )
    async with pool_at("strict", profile) as pool:
        assert (await run(pool, reading(secret / "key"))).value == "FileNotFoundError"
        assert (await run(pool, reading(secret / "shown" / "page"))).value == "page"
        assert (await run(pool, reading(data / "open"))).value in ("", "PermissionError")
        planted = await run(pool, f"open({str(secret / 'planted')!r}, 'w')")
        assert planted.error
        assert planted.error.type in ("OSError", "PermissionError")


@pytest.mark.requirement("sandbox.library")
@pytest.mark.parametrize("level", LEVELS)
async def test_the_whole_standard_library_imports(level: Level) -> None:
    script = """
import importlib, sys
windows = {"msilib", "msvcrt", "nt", "winreg", "winsound", "_winapi", "_msi", "_scproxy", "winapi"}
talkative = {"antigravity", "idlelib", "this", "tkinter", "turtle", "turtledemo", "lib2to3"}
result = []
for name in sorted(sys.stdlib_module_names - windows - talkative):
    if not name.startswith("_"):
        try:
            importlib.import_module(name)
        except Exception as error:
            result.append(f"{name}: {error!r}")
"""
    async with pool_at(level, Profile(limits=Limits(timeout_secs=20))) as pool:
        inside = await run(pool, script, Limits(timeout_secs=20))
        outside = await process_runner.run(Job(script, Limits(timeout_secs=20)), echo)
    expected = outside.value if isinstance(outside.value, list) else []
    assert isinstance(inside.value, list)
    left_out = {"distutils", "ensurepip", "test", "venv"} if level == "seccomp" else set()
    assert {str(name).split(":")[0] for name in inside.value} <= left_out | {
        str(name).split(":")[0] for name in expected
    }


class Egress:
    """A proxy that greets whoever comes."""

    def admitted(self, token: str) -> AbstractContextManager[None]:
        return nullcontext()

    async def serve_listener(self, listener: socket.socket) -> None:
        listener.setblocking(False)
        while True:
            stream, _ = await asyncio.get_running_loop().sock_accept(listener)
            with stream:
                stream.send(b"welcome")

    async def serve_dials(self, dial: socket.socket) -> None:
        dial.setblocking(False)
        while await asyncio.get_running_loop().sock_recv(dial, 1):
            ours, theirs = socket.socketpair()
            with ours, theirs:
                ours.send(b"welcome")
                socket.send_fds(dial, [b"f"], [theirs.fileno()])


BY_NETWORK = """
import os, socket
with socket.create_connection(("127.0.0.1", 3128), 2) as stream:
    result = stream.recv(20).decode()
assert os.environ["HTTPS_PROXY"].endswith("127.0.0.1:3128")
try:
    socket.create_connection(("127.0.0.1", 3129), 2)
    result = "another port is open"
except OSError:
    pass
"""
BY_DIAL = """
import socket
dial = socket.socket(fileno=4)
dial.send(b"c")
_, fds, _, _ = socket.recv_fds(dial, 1, 1)
result = socket.socket(fileno=fds[0]).recv(20).decode()
"""


@pytest.mark.requirement("sandbox.network")
@pytest.mark.parametrize(
    ("level", "script"), [("strict", BY_NETWORK), ("hardened", BY_DIAL), ("seccomp", BY_DIAL)]
)
async def test_the_only_way_out_leads_to_the_proxy(level: Level, script: str) -> None:
    profile = Profile(limits=SMALL, allowed_hosts=("example.com",))
    async with Pool(at(level), {"": profile}, lambda _: Egress()) as pool:
        await started(pool)
        for _ in range(3):
            outcome = await run(pool, script)
            assert outcome.value == "welcome", outcome


@pytest.mark.requirement("sandbox.scratch")
async def test_scratch_on_disk_is_private_bounded_and_gone() -> None:
    script = "import os, tempfile; open('x', 'w').write('1'); result = tempfile.gettempdir()"
    async with pool_at("hardened") as pool:
        places = [str((await run(pool, script)).value) for _ in range(2)]
        assert places[0] != places[1]
        base = Path(places[0]).parent
        assert not _existing(places)
        assert _existing([str(base)])
        greedy = await run(pool, GREEDY, replace(SMALL, timeout_secs=5))
        assert greedy.error
        assert "scratch" in greedy.error.message
    assert not _existing([str(base)])


def _existing(paths: Sequence[str]) -> list[str]:
    return [path for path in paths if Path(path).exists()]


GREEDY = """
number = 0
while True:
    number += 1
    with open(f"f{number}", "wb") as file:
        file.write(bytes(4 << 20))
"""
