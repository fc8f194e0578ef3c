"""What a tree of processes takes: processor time and memory."""

from collections.abc import Iterable
from pathlib import Path

import psutil


def processor_seconds(roots: Iterable[int]) -> float:
    """Of these processes and all below them, those that have ended included, since they began."""
    seconds = 0.0
    for process in _tree(roots):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue  # what it took is its parent's from now on
        seconds += times.user + times.system + times.children_user + times.children_system
    return seconds


def resident_mib(roots: Iterable[int]) -> float | None:
    """Their memory, each with its share of what is shared (PSS). None where the kernel does not tell us.

    Guests and workers hide their memory from all but root.
    """
    try:
        return sum(pss_mib(process.pid) for process in _tree(roots))
    except PermissionError:
        return None


def pss_mib(pid: int) -> float:
    """The memory of one process. Raises PermissionError where the kernel does not tell us."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0  # it has just ended
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def _tree(roots: Iterable[int]) -> Iterable[psutil.Process]:
    for root in roots:
        process = psutil.Process(root)
        yield process
        yield from process.children(recursive=True)
