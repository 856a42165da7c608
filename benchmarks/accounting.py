"""What processes use, by the kernel's accounts: processor time and memory. Linux only."""

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")


def cpu_of_session(leader: int) -> float:
    """Processor seconds, so far, of all processes of a session, as far as they still run."""
    return _cpu(pid for pid in _pids() if _stat(pid)[3:4] == [str(leader)])


def cpu_of_backends(postmaster: int, database: str) -> float:
    """Processor seconds, so far, of the backends that serve a database's clients now, and of no other part of the
    server: what it does in the background falls into one measurement or the next."""
    return _cpu(pid for pid in _children(postmaster) if f" {database} " in _title(pid))


def memory_of_session(leader: int) -> int:
    """Bytes of memory that all processes of a session hold; what several share is counted in parts."""
    return sum(_proportional(pid) for pid in _pids() if _stat(pid)[3:4] == [str(leader)])


def _pids() -> Iterator[int]:
    return (int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit())


def _children(parent: int) -> Iterator[int]:
    return (pid for pid in _pids() if _stat(pid)[1:2] == [str(parent)])


def _stat(pid: int) -> list[str]:
    """The fields of a process's stat after its name: state, parent, group, session, …; none when it is gone."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return []


def _title(pid: int) -> str:
    try:
        return (PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def _cpu(pids: Iterable[int]) -> float:
    found = (_stat(pid) for pid in pids)
    return sum((int(stat[11]) + int(stat[12])) / TICKS for stat in found if stat)


def _proportional(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0
