"""What the self-test makes of its findings, what levels are tried, and the words for failures."""

import errno
import signal
from collections.abc import Mapping
from typing import Literal

import pytest
from msgspec.structs import replace

from mcproxy.sandbox import exit_reason, levels
from mcproxy.sandbox.jail.walls import Wall
from mcproxy.sandbox.levels import LevelFailure
from mcproxy.sandbox.pool import Pool, PoolSettings
from mcproxy.sandbox.profile import Profile, refusals, walls_for
from mcproxy.sandbox.selftest import GUARANTEES, NOT_ENFORCED, Findings, judge, read
from mcproxy.sandbox.zygote_process import Exit, ZygoteReady
from mcproxy.types import Level, Limits, Outcome, ScriptError
from tests.sandbox.walls import LEVELS, SMALL, started

WITHHELD: Mapping[Level, tuple[Wall, ...]] = {
    "strict": (),
    "hardened": ("namespaces",),
    "seccomp": ("namespaces", "landlock"),
}

ALL_HELD = Findings({name: () for name in GUARANTEES if name != "scratch"}, scratch="/tmp")


@pytest.mark.requirement("sandbox.report")
@pytest.mark.parametrize("level", LEVELS)
async def test_the_best_level_that_the_machine_has_is_found_with_every_guarantee(
    level: Level,
) -> None:
    settings = PoolSettings(min_level="seccomp", size=1, withhold=WITHHELD[level])
    async with Pool(settings, {"": Profile(limits=SMALL)}) as pool:
        report = await started(pool)
        if report.level != level:
            pytest.skip(f"this machine reaches {report.level}: {report.missing}")
        guarantees = report.guarantees
    assert set(guarantees) == set(GUARANTEES)
    lacking = {name for name, how in guarantees.items() if how == NOT_ENFORCED}
    assert lacking == {
        "strict": set(),
        "hardened": {"files_metadata"},
        "seccomp": {"scratch"},
    }.get(level)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("guarantee", GUARANTEES)
def test_a_guarantee_holds_only_if_every_try_was_refused(level: Level, guarantee: str) -> None:
    opened = {**ALL_HELD.opened, guarantee: ("do harm",)}
    scratch = None if guarantee == "scratch" else "/tmp"
    verdict = judge(level, 7, Findings(opened, scratch))
    assert verdict.guarantees[guarantee] == NOT_ENFORCED
    promised = (level, guarantee) not in {("hardened", "files_metadata"), ("seccomp", "scratch")}
    assert bool(verdict.broken) == promised
    others = set(GUARANTEES) - {guarantee}
    assert all(verdict.guarantees[name].startswith("enforced:") for name in others)


def test_what_was_not_probed_is_not_enforced() -> None:
    assert "not probed" in judge("strict", 7, Findings({}, "/tmp")).broken[0]


def test_probes_that_come_to_no_end_prove_nothing() -> None:
    outcome = Outcome(error=ScriptError("SandboxError", "the worker died"))
    verdict = judge("strict", 7, read(outcome))
    assert set(verdict.guarantees.values()) == {NOT_ENFORCED}
    assert "the worker died" in verdict.broken[0]


def test_the_walls_that_hold_are_named() -> None:
    assert judge("strict", 7, ALL_HELD).guarantees["files_read"] == (
        "enforced:mount namespace and Landlock"
    )
    assert judge("strict", 0, ALL_HELD).guarantees["files_read"] == "enforced:mount namespace"
    assert judge("hardened", 3, ALL_HELD).guarantees["files_write"] == "enforced:Landlock"
    assert judge("seccomp", 0, ALL_HELD).guarantees["files_read"] == "enforced:seccomp"
    assert judge("seccomp", 0, ALL_HELD).guarantees["memory"] == "enforced:RLIMIT_DATA, RLIMIT_AS"
    assert judge("strict", 7, replace(ALL_HELD, watched=True), cgroup=2).guarantees["memory"] == (
        "enforced:RLIMIT_DATA, RLIMIT_AS and watching; of all workers: cgroup v2"
    )


@pytest.mark.parametrize(
    ("level", "lowest", "tried"),
    [
        ("auto", "hardened", ["strict", "hardened"]),
        ("auto", "none", ["strict", "hardened", "seccomp", "none"]),
        ("auto", "strict", ["strict"]),
        ("strict", "seccomp", ["strict"]),
        ("seccomp", "seccomp", ["seccomp"]),
        ("seccomp", "hardened", []),
        ("none", "none", ["none"]),
    ],
)
def test_which_levels_are_tried(
    level: Literal["auto"] | Level, lowest: Level, tried: list[Level]
) -> None:
    assert list(levels.candidates(level, lowest)) == tried


@pytest.mark.parametrize(
    ("reason", "number", "says"),
    [
        ("unshare(user): Operation not permitted", errno.EPERM, "seccomp profile"),
        ("unshare(user): No space left on device", errno.ENOSPC, "max_user_namespaces"),
        ("mount tmpfs on /sys: Permission denied", errno.EACCES, "apparmor"),
        ("mount_setattr: Function not implemented", errno.ENOSYS, "Linux 5.12"),
        ("Landlock: Operation not supported", errno.EOPNOTSUPP, "Linux 5.13"),
        ("no system call table for riscv64", errno.ENOSYS, "x86-64"),
        ("something new", None, "doctor"),
    ],
)
def test_every_failure_has_a_cure(reason: str, number: int | None, says: str) -> None:
    assert says in levels.cure(LevelFailure("strict", reason, number))


def test_what_is_lacking_is_said() -> None:
    assert not levels.lacking("strict", ZygoteReady(7, 65534, (), None))
    assert "only wall" in levels.lacking("strict", ZygoteReady(0, 65534, (), None))[0]
    assert "user id 0" in levels.lacking("hardened", ZygoteReady(7, 0, (), None))[0]
    assert "'numpy'" in levels.lacking("strict", ZygoteReady(7, 1, ("numpy",), None))[0]


@pytest.mark.parametrize(
    ("ended", "kind", "says"),
    [
        (None, "SandboxError", "restarted"),
        (Exit(0, 1000), "SandboxError", "exit status 0"),
        (Exit(-signal.SIGSEGV, 1000), "SandboxError", "SIGSEGV"),
        (Exit(-signal.SIGSYS, 1000), "SandboxError", "system call"),
        (Exit(-signal.SIGKILL, 1000), "SandboxError", "outside"),
        (Exit(-signal.SIGXCPU, 1000), "Timeout", "processor time"),
        (Exit(-signal.SIGKILL, 1000, cpu_secs=31.5), "Timeout", "processor time"),
        (Exit(-40, 1000), "SandboxError", "ended by SIGRTMIN+6"),
        (Exit(-signal.SIGSEGV, 250 << 10), "MemoryLimit", "sandbox.memory_mb"),
    ],
)
def test_why_a_worker_ended(ended: Exit | None, kind: str, says: str) -> None:
    error = exit_reason.explain(ended, Limits())
    assert error.type == kind
    assert says in error.message


def test_a_full_scratch_folder_is_named() -> None:
    error = exit_reason.explain(Exit(-9, 0), Limits(), "scratch")
    assert "16 MiB" in error.message


@pytest.mark.requirement("sandbox.files")
@pytest.mark.parametrize(
    ("level", "profile", "says"),
    [
        ("strict", Profile(read_only=("/",)), "every file"),
        ("strict", Profile(read_write=("/proc/1",)), "other processes"),
        ("strict", Profile(read_only=("/a",), denied=("/a",)), "'denied' too"),
        ("strict", Profile(read_only=("/a",), denied=("/a/b",)), None),
        ("hardened", Profile(read_only=("/a",), denied=("/a/b",)), "cannot be hidden"),
        ("hardened", Profile(read_only=("/a",), denied=("/home", "/ab")), None),
        ("seccomp", Profile(read_only=("/a",)), "cannot open files"),
        ("seccomp", Profile(denied=("/home",)), None),
    ],
)
def test_what_a_level_cannot_enforce_is_refused(
    level: Level, profile: Profile, says: str | None
) -> None:
    problems = [str(problem) for problem in refusals(profile, level)]
    assert bool(problems) == bool(says)
    assert says is None or says in problems[0]


def test_walls_follow_the_profile() -> None:
    profile = Profile(limits=Limits(timeout_secs=1.5), allowed_hosts=("example.com",))
    walls = walls_for(profile, "strict")
    assert (walls.namespaces, walls.landlock, walls.network) == (True, True, True)
    assert walls.cpu_secs == 4
    assert walls_for(Profile(), "seccomp").paths is False
    assert type(walls).decode(walls.encode()) == walls
