"""What one guest may use, held by the kernel. getrlimit(2)."""

import os
import resource
import signal

from outlet._frames import ProcessLimits

OUT_OF_MEMORY = 86
"""Exit status of a guest that met its memory limit outside of a call."""

_DESCRIPTORS = 16
_SIGNALS_WAITING = 64
_RLIMIT_NICE, _RLIMIT_RTPRIO = 13, 14  # resource(3) has no names for these two; the numbers are the kernel's

_NOTHING = (
    resource.RLIMIT_CORE,
    resource.RLIMIT_FSIZE,
    resource.RLIMIT_MEMLOCK,
    resource.RLIMIT_MSGQUEUE,
    resource.RLIMIT_NPROC,
    _RLIMIT_NICE,
    _RLIMIT_RTPRIO,
)


def apply(limits: ProcessLimits) -> None:
    """Limit this process for good. Memory counts from here: what the zygote had is not the plugin's."""
    for kind in _NOTHING:
        resource.setrlimit(kind, (0, 0))
    _lower(resource.RLIMIT_NOFILE, _DESCRIPTORS)
    _lower(resource.RLIMIT_SIGPENDING, _SIGNALS_WAITING)
    _lower(resource.RLIMIT_AS, _size() + limits.memory_bytes)
    # SIGXCPU at the first; SIGKILL a second later, should the plugin have blocked it.
    resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_seconds, limits.cpu_seconds + 1))


class CallTimer:
    """Ends the process with SIGPROF when ``seconds`` of CPU time pass without a call getting to its end.

    A plugin could stop this timer. What then ends it is what it cannot stop: the worker's deadline, or RLIMIT_CPU.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def start(self) -> None:
        """Begin to count, from nothing."""
        signal.setitimer(signal.ITIMER_PROF, self._seconds)

    def stop(self) -> None:
        """Stop counting."""
        signal.setitimer(signal.ITIMER_PROF, 0)


def _lower(kind: int, wanted: int) -> None:
    _, most = resource.getrlimit(kind)
    value = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
    resource.setrlimit(kind, (value, value))


def _size() -> int:
    """Bytes of address space in use (proc(5): statm, in pages)."""
    descriptor = os.open("/proc/self/statm", os.O_RDONLY)  # the plainest way: this is on the path of every start
    try:
        return int(os.read(descriptor, 64).split()[0]) * resource.getpagesize()
    finally:
        os.close(descriptor)
