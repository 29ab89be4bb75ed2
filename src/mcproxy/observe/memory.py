"""How much memory a process holds, as the kernel says."""

from pathlib import Path

_KIB_PER_MIB = 1024


def resident_mb(pid: int | None) -> float | None:
    """The resident set of a process in MiB; None where it is gone or the system does not tell."""
    if pid is None:
        return None
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    for line in status.splitlines():
        if line.startswith("VmRSS:"):
            return round(int(line.split()[1]) / _KIB_PER_MIB, 1)
    return None
