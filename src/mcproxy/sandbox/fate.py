"""Why a worker ended without a result, in words for the author of the script. Pure."""

import signal

from mcproxy.sandbox.zygote_process import Exit
from mcproxy.types import Limits, ScriptError

_NEARLY_ALL = 0.9  # of the memory limit: an allocation that failed was on the way
_MIB_IN_KIB = 1 << 10


def explain(ended: Exit | None, limits: Limits, *, scratch_full: bool = False) -> ScriptError:
    """``ended`` is None when the zygote itself is gone, and its workers with it."""
    if scratch_full:
        return _scratch_limit(limits)
    if ended is None:
        return ScriptError(
            "SandboxError", "The sandbox was restarted while the script ran.", retryable=True
        )
    if ended.peak_kib >= limits.memory_mb * _MIB_IN_KIB * _NEARLY_ALL:
        return _memory_limit(limits)
    if ended.code == -signal.SIGXCPU:
        return ScriptError("Timeout", f"The script used {limits.timeout_secs:g} s of CPU time.")
    if ended.code == -signal.SIGSYS:
        return ScriptError("SandboxError", "The script made a system call of another machine.")
    if ended.code == -signal.SIGSEGV:
        return ScriptError(
            "SandboxError",
            "The interpreter crashed (SIGSEGV).",
            hint="Usual causes: recursion without end after sys.setrecursionlimit, and ctypes.",
        )
    if ended.code == -signal.SIGKILL:
        return ScriptError(
            "SandboxError",
            "The worker was killed from outside: usually the memory limit of the machine or of "
            "the gateway's container.",
            retryable=True,
        )
    return ScriptError("SandboxError", f"The worker ended without a result ({_how(ended.code)}).")


def _memory_limit(limits: Limits) -> ScriptError:
    return ScriptError(
        "MemoryLimit",
        f"The script needed more than its {limits.memory_mb} MiB of memory "
        "(sandbox.memory_mb of the namespace sets this limit).",
        hint="Work on smaller pieces: fetch, reduce, and drop each before the next.",
    )


def _scratch_limit(limits: Limits) -> ScriptError:
    return ScriptError(
        "SandboxError",
        f"The script wrote more than {limits.scratch_mb} MiB, or too many files, to its scratch "
        "folder.",
        hint="Keep intermediate data in memory, or delete files that are done with.",
    )


def _how(code: int) -> str:
    if code >= 0:
        return f"exit status {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
