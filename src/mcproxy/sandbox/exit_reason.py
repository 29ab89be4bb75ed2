"""Why a worker ended without a result, in words for the author of the script. Pure."""

import signal

from mcproxy.exit_status import signal_name
from mcproxy.sandbox.worker_slot import Over
from mcproxy.sandbox.zygote_process import Exit
from mcproxy.types import Limits, ScriptError

_NEARLY_ALL = 0.9  # of the memory limit: an allocation that failed was on the way
_MIB_IN_KIB = 1 << 10

_RESTARTED = ScriptError(
    "SandboxError", "The sandbox was restarted while the script ran.", retryable=True
)
_CPU_LIMIT = ScriptError(
    "Timeout",
    "The script used up its processor time.",
    hint="Compute less per execution; it counts while somebody is asked, too.",
)
_BY_SIGNAL: dict[int, ScriptError] = {
    signal.SIGXCPU: _CPU_LIMIT,
    signal.SIGSYS: ScriptError("SandboxError", "The script made a foreign machine's system call."),
    signal.SIGSEGV: ScriptError(
        "SandboxError",
        "The interpreter crashed (SIGSEGV).",
        hint="Usual causes: recursion without end after sys.setrecursionlimit, and ctypes.",
    ),
    signal.SIGKILL: ScriptError(
        "SandboxError",
        "The worker was killed from outside: usually the memory limit of the machine or of the "
        "gateway's container.",
        retryable=True,
    ),
}


def explain(ended: Exit | None, limits: Limits, over: Over | None = None) -> ScriptError:
    """``ended`` is None when the zygote itself is gone, and its workers with it; ``over`` the limit
    for which the gateway killed it, if it did."""
    if over:
        return _memory_limit(limits) if over == "memory" else _scratch_limit(limits)
    if ended is None:
        return _RESTARTED
    if ended.peak_kib >= limits.memory_mb * _MIB_IN_KIB * _NEARLY_ALL:
        return _memory_limit(limits)
    if ended.code >= 0:
        text = f"The script ended its process (exit status {ended.code}) without a result."
        return ScriptError("SandboxError", text, hint="Assign to `result`, or define run().")
    if ended.code == -signal.SIGKILL and ended.cpu_secs >= limits.timeout_secs:
        return _CPU_LIMIT  # SIGXCPU does not end the first process of a namespace
    unusual = ScriptError("SandboxError", f"The worker was ended by {signal_name(-ended.code)}.")
    return _BY_SIGNAL.get(-ended.code, unusual)


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
