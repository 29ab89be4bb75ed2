"""The filter: compiled programs against the rules they were compiled from, and the tables."""

import errno
import re
import struct
from collections.abc import Callable, Sequence
from operator import eq, ge, gt
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcproxy.sandbox.jail.confine import bpf, seccomp
from mcproxy.sandbox.jail.confine.bpf import (
    ALLOW,
    KILL_PROCESS,
    REFUSE,
    Below,
    OneOf,
    Rule,
    errno_action,
)
from mcproxy.sandbox.jail.confine.seccomp import Shape
from mcproxy.sandbox.jail.confine.syscalls import AUDIT_ARCH, NUMBERS

MACHINES = sorted(NUMBERS)
STACK_FLOOR = 0x7FFC_1234_5000
SHAPES = [
    Shape(paths=paths, attributes=attributes, network=network, locks=locks, stack_floor=STACK_FLOOR)
    for paths, attributes, network, locks in [
        (True, True, False, True),
        (True, True, True, False),
        (True, False, False, False),
        (False, False, False, False),
    ]
]
HEADERS = Path("/usr/include")
LAST_NUMBER = 700  # beyond every call of today's kernels


JUMPS: dict[int, Callable[[int, int], bool]] = {0x15: eq, 0x25: gt, 0x35: ge}


def emulate(program: bytes, arch: int, number: int, arguments: Sequence[int]) -> int:
    """What the kernel would answer: classic BPF on one ``struct seccomp_data``."""
    data = struct.pack("<IIQ6Q", number & bpf.WORD, arch, 0, *arguments)
    code = [struct.unpack_from("<HBBI", program, at) for at in range(0, len(program), 8)]
    accumulator = at = 0
    while code[at][0] != 0x06:
        op, jt, jf, k = code[at]
        at += 1
        if op == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, k)
        elif op == 0x54:
            accumulator &= k
        elif op == 0x05:
            at += k
        else:
            at += jt if JUMPS[op](accumulator, k) else jf
    return int(code[at][3])


def verdict(rule: Rule | None, arguments: Sequence[int]) -> int:
    """The meaning of a rule, said directly."""
    if rule is None:
        return REFUSE
    if (
        rule.first
        and arguments[rule.first[0].argument] & rule.first[0].mask in rule.first[0].values
    ):
        return rule.first[1]
    for check in rule.checks:
        value = arguments[check.argument]
        if isinstance(check, Below):
            holds = value < check.limit
        else:
            holds = value & check.mask in check.values
        if not holds:
            return rule.otherwise
    return rule.then


def samples(rule: Rule | None) -> list[list[int]]:
    """Arguments around every edge of a rule's checks."""
    found = [[0] * 6, [2**64 - 1] * 6]
    checks = [*([rule.first[0]] if rule.first else []), *rule.checks] if rule else []
    for check in checks:
        edges = [check.limit] if isinstance(check, Below) else list(check.values)
        near = {(edge + step) % 2**64 for edge in edges for step in (-1, 0, 1, 1 << 32, -(1 << 32))}
        near |= {edge ^ 1 << bit for edge in edges for bit in (0, 1, 5, 8, 18, 31, 32, 63)}
        found += [
            [*rest[: check.argument], value, *rest[check.argument + 1 :]]
            for value in near
            for rest in found[:6]
        ]
    return found


@pytest.mark.requirement("sandbox.seccomp")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("machine", MACHINES)
def test_the_program_decides_as_the_rules_say(machine: str, shape: Shape) -> None:
    program = seccomp.program(shape, machine)
    names = {number: name for name, number in NUMBERS[machine].items()}
    rules = seccomp.rules(shape)
    for number in [*range(LAST_NUMBER), 0x40000000, 0x40000000 | 1, bpf.WORD]:
        rule = rules.get(names.get(number, ""))
        for arguments in samples(rule):
            assert emulate(program, AUDIT_ARCH[machine], number, arguments) == verdict(
                rule, arguments
            ), (names.get(number), [hex(a) for a in arguments])


@pytest.mark.parametrize("machine", MACHINES)
def test_calls_of_another_architecture_end_the_process(machine: str) -> None:
    program = seccomp.program(SHAPES[0], machine)
    for arch in (0x40000003, 0x40000028, 0, *set(AUDIT_ARCH.values()) - {AUDIT_ARCH[machine]}):
        assert emulate(program, arch, 0, [0] * 6) == KILL_PROCESS


CHECKS = st.one_of(
    st.builds(
        OneOf,
        argument=st.integers(0, 5),
        values=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=5).map(tuple),
        mask=st.sampled_from([bpf.WORD, 0xFF, bpf.WORD << 32 | bpf.WORD, 0x40021]),
    ),
    st.builds(Below, argument=st.integers(0, 5), limit=st.integers(1, 2**64 - 1)),
)
FIRST_CHECKS = st.builds(
    OneOf,
    argument=st.integers(0, 5),
    values=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=5).map(tuple),
    mask=st.sampled_from([bpf.WORD, 0xFF]),
)
RULES = st.builds(
    Rule,
    then=st.sampled_from([ALLOW, errno_action(errno.ENOSYS)]),
    checks=st.lists(CHECKS, max_size=3).map(tuple),
    otherwise=st.just(bpf.REFUSE),
    first=st.none() | st.tuples(FIRST_CHECKS, st.just(errno_action(0))),
)


@given(
    rules=st.dictionaries(st.integers(0, 500), RULES, min_size=1, max_size=60),
    number=st.integers(0, 600),
    arguments=st.lists(st.integers(0, 2**64 - 1), min_size=6, max_size=6),
)
def test_any_table_of_rules_compiles_to_its_meaning(
    rules: dict[int, Rule], number: int, arguments: list[int]
) -> None:
    arch = AUDIT_ARCH["x86_64"]
    program = bpf.assemble(bpf.compile_rules(rules, arch, REFUSE))
    asked = [number, *list(rules)[:5]]
    near = [list(arguments), *(row for one in asked for row in samples(rules.get(one))[:40])]
    for one in asked:
        for row in near:
            assert emulate(program, arch, one, row) == verdict(rules.get(one), row)


OLD_CALLS = """
access alarm chmod dup2 epoll_create epoll_wait getpgrp lstat mkdir open pipe poll readlink rename
rmdir select stat time unlink
"""
FORBIDDEN = """
fork vfork clone3 execve execveat kill tgkill tkill ptrace process_vm_readv unshare setns mount
umount2 pivot_root chroot io_uring_setup bpf perf_event_open keyctl userfaultfd memfd_create shmget
bind listen accept accept4 prctl seccomp setuid setgid capset init_module link linkat symlink
symlinkat mknod mknodat chown fchown truncate fallocate pidfd_open pidfd_getfd personality reboot
sendfile splice tee vmsplice
"""


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_what_must_never_be_called_is_not_listed(shape: Shape) -> None:
    rules = seccomp.rules(shape)
    allowed = {name for name, rule in rules.items() if rule.then == ALLOW}
    assert not allowed & set(FORBIDDEN.split())
    assert ("socket" in allowed) == ("connect" in allowed) == shape.network
    assert ("openat" in allowed) == shape.paths
    assert ("fchmodat" in allowed) == shape.attributes


def test_every_listed_call_has_a_number_on_each_machine_or_is_known_to_lack_one() -> None:
    names = set().union(*(seccomp.rules(shape) for shape in SHAPES))
    assert names <= set(NUMBERS["x86_64"])
    lacking = names - set(NUMBERS["aarch64"])
    assert lacking == set(OLD_CALLS.split())


def test_numbers_of_x86_64_are_those_of_the_kernel_headers() -> None:
    header = HEADERS / "x86_64-linux-gnu/asm/unistd_64.h"
    if not header.exists():
        pytest.skip(f"no {header}")
    there = dict(re.findall(r"#define __NR_(\w+)\s+(\d+)", header.read_text()))
    assert {name: str(number) for name, number in NUMBERS["x86_64"].items()}.items() <= (
        there.items()
    )


def test_numbers_of_aarch64_are_those_of_the_generic_header() -> None:
    header = HEADERS / "asm-generic/unistd.h"
    if not header.exists():
        pytest.skip(f"no {header}")
    text = header.read_text()
    wide = dict(re.findall(r"#define __NR3264_(\w+)\s+(\d+)", text))
    there = {
        name: wide.get(value.removeprefix("__NR3264_"), value)
        for name, value in re.findall(r"#define __NR_(\w+)\s+(\w+)", text)
    }
    assert {name: str(number) for name, number in NUMBERS["aarch64"].items()}.items() <= (
        there.items()
    )
