"""The few Linux process attributes that the sandbox sets (prctl(2), capset(2))."""

import ctypes
import errno
import functools
import os
import signal
import struct

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
_CAPABILITY_VERSION = 0x20080522


def die_with(parent: int) -> None:
    """SIGKILL this process when the thread of ``parent`` that started it ends. Exits at once if it has ended."""
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def hide_from_other_processes() -> None:
    """Let no process of the same user attach to this one or read its memory (PR_SET_DUMPABLE 0)."""
    prctl(_PR_SET_DUMPABLE, 0)


def give_up_new_privileges() -> None:
    """No program started from here on gains privileges (PR_SET_NO_NEW_PRIVS)."""
    prctl(_PR_SET_NO_NEW_PRIVS, 1)


def drop_capabilities() -> None:
    """Keep no capability, and no way to one: what a guest of a worker that runs as root could do as root."""
    prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    capability = 0
    while _may_drop(capability):
        capability += 1
    if libc().capset(struct.pack("=Ii", _CAPABILITY_VERSION, 0), bytes(24)) != 0:
        raise _failed("capset")


def prctl(option: int, value: int, third: int = 0) -> None:
    """prctl(2). Raises OSError."""
    if libc().prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(third), ctypes.c_ulong(0), ctypes.c_ulong(0)) != 0:
        raise _failed(f"prctl {option}")


@functools.cache
def libc() -> ctypes.CDLL:
    """The C library, opened once: guests inherit it."""
    return ctypes.CDLL(None, use_errno=True)


def _may_drop(capability: int) -> bool:
    """Take one capability out of reach. False past the last one, or where the process may not: then it has none."""
    try:
        prctl(_PR_CAPBSET_DROP, capability)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EPERM):
            raise
        return False
    return True


def _failed(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")
