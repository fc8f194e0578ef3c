"""What /proc says of processes: who descends from whom, and what they use."""

import asyncio
import ctypes
import os
import signal
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / 2**20
TICKS = os.sysconf("SC_CLK_TCK")
SAMPLE_SECONDS = 0.03
GONE = (FileNotFoundError, ProcessLookupError)


@dataclass(frozen=True, slots=True)
class Process:
    """One line of /proc/PID/stat. ``mib`` is resident memory, ``seconds`` processor time."""

    pid: int
    parent: int
    state: str
    threads: int
    mib: float
    seconds: float


@dataclass(slots=True)
class Peaks:
    """The most that a plugin's processes, and their host, used at once."""

    processes: int = 0
    threads: int = 0
    mib: float = 0.0
    descriptors: int = 0
    host_mib: float = 0.0
    host_descriptors: int = 0


def look(pid: int) -> Process | None:
    """The process, or None when there is none (any more)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except GONE:
        return None
    rest = text[text.rindex(")") + 2 :].split()  # the name before it may hold anything
    used = (int(rest[11]) + int(rest[12])) / TICKS
    return Process(pid, int(rest[1]), rest[0], int(rest[17]), int(rest[21]) * PAGE_MIB, used)


def lives(pid: int) -> bool:
    """Whether the process is there, and neither dead nor stopped."""
    process = look(pid)
    return process is not None and process.state not in "ZXTt"


def descendants(root: int) -> list[Process]:
    """Everything below ``root``, itself not included, zombies not included."""
    found: list[Process] = []
    waiting = [root]
    while waiting:
        children = [child for child in map(look, _children(waiting.pop())) if child is not None]
        found += [child for child in children if child.state not in "ZX"]
        waiting += [child.pid for child in children]
    return found


def _children(pid: int) -> list[int]:
    """The kernel's own list (proc(5)), because to look through all of /proc would keep the neighbour waiting."""
    found: list[int] = []
    with suppress(*GONE):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with suppress(*GONE):
                found += map(int, (thread / "children").read_text().split())
    return found


def kill(child: asyncio.subprocess.Process) -> None:
    """SIGKILL a child of the event loop, which may have ended just now.

    By its number, because ``Process.kill`` looks first whether it has ended: that takes its status away from the event
    loop, which then complains of a child that it does not know, and makes one up.
    """
    if child.returncode is None:
        with suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)


class Newcomers:
    """Finds the processes that come to be below this one, from now on; ``besides`` those that are there already."""

    def __init__(self, besides: int = 0) -> None:
        if not Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").exists():
            raise OSError("this kernel does not list the children of a process (CONFIG_PROC_CHILDREN)")
        self._known = {process.pid for process in descendants(os.getpid())} - {besides}

    def find(self) -> list[Process]:
        """Those that are there now."""
        return [process for process in descendants(os.getpid()) if process.pid not in self._known]

    async def gone(self, within: float) -> int:
        """Wait until there are none; how many there still are after ``within`` seconds."""
        end = time.monotonic() + within
        while (left := self.find()) and time.monotonic() < end:  # noqa: ASYNC110  the kernel tells nobody of it
            await asyncio.sleep(0.02)
        return len(left)

    async def burn(self, seconds: float) -> float:
        """The share of ``seconds`` that they spend on a processor."""
        before = sum(process.seconds for process in self.find())
        await asyncio.sleep(seconds)
        return (sum(process.seconds for process in self.find()) - before) / seconds

    async def end(self) -> None:
        """SIGKILL them all, those included that appear meanwhile, and reap those that were left to us."""
        for _ in range(200):
            if not (found := self.find()):
                return
            for process in found:
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
            await asyncio.sleep(0.01)
            for process in found:
                _reap(process.pid)
        raise RuntimeError(f"processes cannot be ended: {found}")


def _reap(pid: int) -> None:
    """Take note of the end of a process that was left to us; never waits."""
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


async def watch(newcomers: Newcomers, host: int, peaks: Peaks, slowness: float) -> None:
    """Note the peaks of the newcomers and of their host, until cancelled."""
    while True:
        note(newcomers.find(), host, peaks)
        await asyncio.sleep(SAMPLE_SECONDS * slowness)


def note(found: Collection[Process], host: int, peaks: Peaks) -> None:
    """Take one sample."""
    peaks.processes = max(peaks.processes, len(found))
    peaks.threads = max([peaks.threads, *(process.threads for process in found)])
    peaks.mib = max(peaks.mib, sum(process.mib for process in found))
    for process in list(found)[:4]:
        peaks.descriptors = max(peaks.descriptors, descriptors(process.pid))
    peaks.host_mib = max(peaks.host_mib, mib(host))
    peaks.host_descriptors = max(peaks.host_descriptors, descriptors(host))


def descriptors(pid: int) -> int:
    """How many descriptors the process has open; 0 when that may not be known."""
    try:
        return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    except (*GONE, PermissionError):
        return 0


def mib(pid: int) -> float:
    """Resident memory; 0 for a process that is gone."""
    process = look(pid)
    return 0.0 if process is None else process.mib


@contextmanager
def adopting_orphans() -> Iterator[None]:
    """Within the block, orphans below this process become its children, so that none gets out of sight."""
    prctl = ctypes.CDLL(None).prctl
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
