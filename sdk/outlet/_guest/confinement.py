"""What a guest gives up before it reads the first byte of a plugin."""

import contextlib
import os
import socket
from collections.abc import Callable

from outlet._frames import ProcessLimits, Tier
from outlet._guest import landlock, limits, seccomp
from outlet._guest.linux import give_up_new_privileges


def confine(granted: ProcessLimits) -> Tier:
    """Put up every wall that the system offers, and try them. Returns the tier that the walls which held make.

    Called once in each guest, after it has its socket and event loop, and nothing else. The zygote has dropped its
    capabilities and hidden its memory already, which a guest inherits. Raises OSError when not even
    resources can be limited.
    """
    limits.apply(granted)
    give_up_new_privileges()
    without_files = 0
    with contextlib.suppress(OSError):  # a wall that the system refuses to put up shows in the tier
        without_files = landlock.restrict()
    if not _refused(lambda: os.close(os.open("/", os.O_RDONLY | os.O_DIRECTORY))):
        without_files = 0
    filtered = False
    with contextlib.suppress(OSError):
        seccomp.install()
        filtered = _refused(_make_a_socket) and _refused(lambda: os.getsid(0))
    return tier(without_files, filtered=filtered)


def tier(landlock_version: int, *, filtered: bool) -> Tier:
    """The name of a set of walls. Every tier has the limits on resources."""
    if filtered:
        return "A" if landlock_version >= landlock.SCOPING else "B"
    return "C" if landlock_version else "D"


def _make_a_socket() -> None:
    socket.socket(socket.AF_UNIX).close()


def _refused(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except PermissionError:
        return True
    return False
