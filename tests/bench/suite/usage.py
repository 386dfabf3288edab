"""What processes use of the machine; None where the system does not tell."""

import os
import resource
import sys
from pathlib import Path

_PROC = Path("/proc")  # of Linux


def own_peak_mebibytes() -> float:
    """The most resident memory that this process has had so far.

    On Linux `getrusage` would tell that of its parent, if that was more when it started this one.
    """
    told = peak_mebibytes(os.getpid())
    if told is not None:
        return told
    unit_bytes = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit_bytes / 2**20


def peak_mebibytes(pid: int) -> float | None:
    """The most resident memory that a process has had so far."""
    status = _read(pid, "status")
    if status is None:
        return None
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def cpu_seconds(pid: int) -> float | None:
    """The processor time that a process has used so far."""
    stat = _read(pid, "stat")
    if stat is None:
        return None
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _read(pid: int, name: str) -> str | None:
    try:
        return (_PROC / str(pid) / name).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
