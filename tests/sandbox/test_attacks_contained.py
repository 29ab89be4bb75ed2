"""The attack set: every script of ``attacks/`` at every level that this machine allows.

One pool serves all scripts of a level, as in life. After each, the canary is as it was and no more
memory was taken than is allowed; after each, a benign script works; after all, no process is
left. The worker of each script stood ready while the one before ran, so what a script does to its
neighbours fails the next one too. The scripts go to the pool directly, past the friendly check, so
each is as good as disguised.
"""

import contextlib
import os
import platform
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from mcproxy.sandbox import cgroup
from mcproxy.sandbox.cgroup import Place
from mcproxy.sandbox.pool import Pool
from mcproxy.types import Limits, Outcome
from tests.sandbox.attacks_data import FOLDER, Script, filled, scripts, seen
from tests.sandbox.walls import SMALL, descendants, run, settles

SHORT = replace(SMALL, timeout_secs=1.0)
SHORT_KINDS = ("output", "channel")  # many of them never end
ENDLESS = replace(SMALL, timeout_secs=0.25)  # where no other end is expected
ENDS = {"Timeout", "MemoryLimit"}  # of such a script
SPARE_MIB = 128  # of address space: what was written may be made read-only there
KERNEL_MIB = 32  # buffers, tables and descriptors of one script, and what the next worker touches
MOST_MIB = SMALL.memory_mb + SPARE_MIB + SMALL.scratch_mb + KERNEL_MIB
KINDS = sorted(path.stem for path in FOLDER.glob("*.txt"))
ATTACKS = [script for kind in KINDS if kind != "benign" for script in scripts(kind)]
CLONE = {"x86_64": 56, "aarch64": 220}

BENIGN = """
import json
answer = await api.call_tool("s", "echo")
result = [answer, len("abc"), json.dumps({"a": 1}), sorted("ba")]
try:
    import os, tempfile
    result.append(os.listdir(tempfile.gettempdir()))
except OSError:
    result.append([])
"""
BENIGN_RESULT = ["echo", 3, '{"a": 1}', ["a", "b"], []]


class Memory:
    """What a zygote, its workers and the kernel for them hold, by their cgroup; where none can be
    made, nothing is measured."""

    def __init__(self, place: Place | None) -> None:
        self._files: tuple[Path, Path] | None = None
        if place:
            (folder,) = place.folder.glob(f"mcproxy-{os.getpid()}-*")
            names = {1: ("memory.usage_in_bytes", "memory.max_usage_in_bytes")}
            now, peak = names.get(place.version, ("memory.current", "memory.peak"))
            self._files = folder / now, folder / peak
        self._before = 0

    def start(self) -> None:
        """Begin anew. Before Linux 6.12 version 2 keeps its peak: a bound all the same."""
        if self._files:
            now, peak = self._files
            with contextlib.suppress(OSError):
                peak.write_text("0")
            self._before = int(now.read_text())

    def taken_mib(self) -> int:
        return (int(self._files[1].read_text()) - self._before) >> 20 if self._files else 0


class Ground:
    """What the attacks go for on the host."""

    def __init__(self, folder: Path, port: int) -> None:
        self.memory = Memory(cgroup.find())
        self.folder, self.canary = folder, folder / "canary"
        self.canary.write_text("untouched")
        self.canary.chmod(0o666)
        folder.chmod(0o777)
        self.words = {
            "canary": self.canary,
            "folder": folder,
            "gateway": os.getpid(),
            "port": port,
            "clone": CLONE.get(platform.machine(), 0),
        }

    def is_untouched(self) -> bool:
        mode = self.canary.stat().st_mode & 0o777
        return (
            [path.name for path in self.folder.iterdir()] == ["canary"]
            and self.canary.read_text() == "untouched"
            and mode == 0o666
        )


@pytest.fixture
def ground(pool: Pool, tmp_path: Path) -> Iterator[Ground]:
    folder = tmp_path / "ground"
    folder.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield Ground(folder, server.getsockname()[1])


@pytest.mark.timeout(240)
@pytest.mark.requirement("sandbox.attacks")
@pytest.mark.requirement("sandbox.memory.unseen")
@pytest.mark.parametrize("kind", KINDS)
async def test_every_script_of_a_class_is_contained(pool: Pool, kind: str, ground: Ground) -> None:
    if kind == "kernel" and platform.machine() != "x86_64":
        pytest.skip("raw numbers of x86-64")
    at_rest, attacks = descendants(), scripts(kind)
    faults = [fault for script in attacks for fault in await _faults(pool, script, ground)]
    await settles(lambda: pool.stats.ready == 1 and len(descendants()) <= len(at_rest))
    assert not faults, "\n".join(faults)
    assert pool.stats.restarts == 0


def test_the_set_is_as_large_as_promised() -> None:
    assert len(ATTACKS) >= 100
    assert len(scripts("benign")) >= 15
    assert len({(script.kind, script.name) for script in ATTACKS}) == len(ATTACKS)


async def _faults(pool: Pool, script: Script, ground: Ground) -> list[str]:
    """What was not contained of a script, or made a benign one behind it suffer."""
    faults = []
    expected = script.expected_at(pool.report.level)
    ground.memory.start()
    outcome = await run(pool, filled(script, ground.words), _limits(script.kind, expected))
    taken = ground.memory.taken_mib()
    if not seen(outcome) & expected:
        faults.append(f"expected {sorted(expected)}, got {_short(outcome)}")
    if not ground.is_untouched():
        faults.append("the canary was touched")
    if taken > MOST_MIB:
        faults.append(f"took {taken} MiB")
    after = await run(pool, BENIGN)
    if after.value != BENIGN_RESULT:
        faults.append(f"the next script suffered: {_short(after)}")
    return [f"{script.kind}.{script.name}: {fault}" for fault in faults]


def _limits(kind: str, expected: frozenset[str]) -> Limits:
    if "Timeout" in expected and expected <= ENDS:
        return ENDLESS
    return SHORT if "Timeout" in expected or kind in SHORT_KINDS else SMALL


def _short(outcome: Outcome) -> str:
    error = outcome.error and f"{outcome.error.type}: {outcome.error.message[:150]}"
    return error or repr(outcome.value)[:150]
