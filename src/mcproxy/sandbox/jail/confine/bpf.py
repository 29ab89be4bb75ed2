"""Compile a table of system call rules into a classic BPF program for seccomp. Pure.

The program is a balanced tree over the call numbers: the kernel runs it once per number when it is
installed and on every call that is not always allowed, so depth is time. Which calls are allowed is
for ``seccomp``; this file knows ``struct seccomp_data`` and BPF (linux/seccomp.h, linux/filter.h).
"""

import errno
import struct
from collections.abc import Mapping
from typing import NamedTuple

ALLOW = 0x7FFF0000
KILL_PROCESS = 0x80000000
WORD = 0xFFFFFFFF

_LOAD, _AND, _RETURN = 0x20, 0x54, 0x06
_JUMP, _IF_EQUAL, _IF_GREATER, _IF_GREATER_EQUAL = 0x05, 0x15, 0x25, 0x35
_OFFSET_NUMBER, _OFFSET_ARCH, _OFFSET_ARGUMENTS = 0, 4, 16


def errno_action(number: int) -> int:
    """The call is not made; its caller sees this ``errno``."""
    return 0x00050000 | number


REFUSE = errno_action(errno.EPERM)


class OneOf(NamedTuple):
    """Holds when ``argument & mask`` is one of ``values``, each below 2**32.

    The kernel reads flags, families and descriptors as 32 bits: hence the default mask.
    """

    argument: int
    values: tuple[int, ...]
    mask: int = WORD


class Below(NamedTuple):
    """Holds when the 64-bit ``argument`` is less than ``limit``."""

    argument: int
    limit: int


class Rule(NamedTuple):
    """``then`` when all ``checks`` hold, else ``otherwise`` (both are actions).

    ``first`` is judged before them and has an action of its own; its mask is of 32 bits.
    """

    then: int = ALLOW
    checks: tuple[OneOf | Below, ...] = ()
    otherwise: int = REFUSE
    first: tuple[OneOf, int] | None = None


class Instruction(NamedTuple):
    """One BPF instruction: ``jt`` and ``jf`` are how many to skip when true and when false."""

    code: int
    k: int
    jt: int = 0
    jf: int = 0


Program = list[Instruction]


def compile_rules(rules: Mapping[int, Rule], arch: int, default: int) -> Program:
    """The program: other architectures are killed, numbers without a rule get ``default``."""
    return [
        Instruction(_LOAD, _OFFSET_ARCH),
        Instruction(_IF_EQUAL, arch, jt=1),
        Instruction(_RETURN, KILL_PROCESS),
        Instruction(_LOAD, _OFFSET_NUMBER),
        *_tree(_ranges(rules, Rule(then=default))),
    ]


def assemble(program: Program) -> bytes:
    """``struct sock_filter[]``."""
    return b"".join(struct.pack("<HBBI", i.code, i.jt, i.jf, i.k) for i in program)


def _ranges(rules: Mapping[int, Rule], default: Rule) -> list[tuple[int, Rule]]:
    """(first number, rule) of each run of numbers that share one rule, in order."""
    ranges = [(0, rules.get(0, default))]
    for number in range(1, max(rules) + 2):
        rule = rules.get(number, default)
        if rule != ranges[-1][1]:
            ranges.append((number, rule))
    return ranges


def _tree(ranges: list[tuple[int, Rule]]) -> Program:
    """Binary search; the left half is skipped by a long jump, as ``jt`` has 8 bits only."""
    if len(ranges) == 1:
        return _body(ranges[0][1])
    middle = len(ranges) // 2
    left, right = _tree(ranges[:middle]), _tree(ranges[middle:])
    return [
        Instruction(_IF_GREATER_EQUAL, ranges[middle][0], jt=0, jf=1),
        Instruction(_JUMP, len(left)),
        *left,
        *right,
    ]


def _body(rule: Rule) -> Program:
    refuse = Instruction(_RETURN, rule.otherwise)
    program: Program = []
    if rule.first:
        check_first, action = rule.first
        program += _one_of(check_first, Instruction(_JUMP, 1))  # past the return
        program.append(Instruction(_RETURN, action))
    for check in rule.checks:
        program += _below(check, refuse) if isinstance(check, Below) else _one_of(check, refuse)
    return [*program, Instruction(_RETURN, rule.then)]


def _one_of(check: OneOf, refuse: Instruction) -> Program:
    """Falls through when the check holds. High word first: it must be zero under the mask."""
    low, high = _words(check.argument)
    program: Program = []
    if high_mask := check.mask >> 32:
        program += [*_load(high, high_mask), Instruction(_IF_EQUAL, 0, jt=1), refuse]
    program += _load(low, check.mask & WORD)
    left = len(check.values)
    for value in check.values:
        program.append(Instruction(_IF_EQUAL, value, jt=left))
        left -= 1
    return [*program, refuse]


def _below(check: Below, refuse: Instruction) -> Program:
    low, high = _words(check.argument)
    return [
        Instruction(_LOAD, high),
        Instruction(_IF_GREATER, check.limit >> 32, jt=3),
        Instruction(_IF_EQUAL, check.limit >> 32, jf=3),
        Instruction(_LOAD, low),
        Instruction(_IF_GREATER_EQUAL, check.limit & WORD, jt=0, jf=1),
        refuse,
    ]


def _load(offset: int, mask: int) -> Program:
    load = Instruction(_LOAD, offset)
    return [load] if mask == WORD else [load, Instruction(_AND, mask)]


def _words(argument: int) -> tuple[int, int]:
    """Offsets of the low and high word of an argument (both machines are little-endian)."""
    low = _OFFSET_ARGUMENTS + 8 * argument
    return low, low + 4
