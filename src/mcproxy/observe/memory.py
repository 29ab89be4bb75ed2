"""How much memory a process holds, as the kernel says."""

from pathlib import Path

from mcproxy.types import ServerHealth

_KIB_PER_MIB = 1024


def held_mb(server: ServerHealth) -> float | None:
    """The resident sets of a server's processes, in MiB: its own and its instances'; None where it
    has none, or the system does not tell."""
    sizes = [resident_mb(pid) for pid in (server.pid, *(server.instances or ()))]
    known = [size for size in sizes if size is not None]
    return round(sum(known), 1) if known else None


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
