"""Landlock: no files, no network, no signals and no abstract sockets out of the guest. landlock(7)."""

import ctypes
import os
import struct

from outlet._guest.linux import libc

# The same numbers on every architecture.
_CREATE_RULESET, _RESTRICT_SELF = 444, 446
_ASK_VERSION = 1
_KEEP_OUT_OF_THE_AUDIT_LOG = 1  # LANDLOCK_RESTRICT_SELF_LOG_SAME_EXEC_OFF: a plugin must not fill it

SCOPING = 6
"""The first version that keeps signals and abstract sockets in as well; from here on nothing is left open."""

_NETWORK_SINCE = 4
_LOG_FLAGS_SINCE = 7
_FILES_BY_VERSION = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}  # how many access rights there are, each one bit


def version() -> int:
    """The version of Landlock that the kernel offers; 0 for none."""
    return max(0, _call(_CREATE_RULESET, None, 0, _ASK_VERSION))


def restrict() -> int:
    """Give up everything that this kernel's Landlock knows of, for good. Wants no_new_privs.

    Returns the version, 0 when there is none. Raises OSError when a kernel that has it does not do it.
    """
    offered = version()
    if offered == 0:
        return 0
    ruleset = _raise_for(_call(_CREATE_RULESET, *_everything(offered), 0))
    try:
        flags = _KEEP_OUT_OF_THE_AUDIT_LOG if offered >= _LOG_FLAGS_SINCE else 0
        _raise_for(_call(_RESTRICT_SELF, ruleset, flags))
    finally:
        os.close(ruleset)
    return offered


def _everything(offered: int) -> tuple[bytes, int]:
    """struct landlock_ruleset_attr as far as the version has it: rights for files, network, scope. No rule follows."""
    files = (1 << _FILES_BY_VERSION[min(offered, max(_FILES_BY_VERSION))]) - 1
    known = [files]
    if offered >= _NETWORK_SINCE:
        known.append(0b11)
    if offered >= SCOPING:
        known.append(0b11)
    return struct.pack(f"={len(known)}Q", *known), 8 * len(known)


def _call(number: int, *arguments: object) -> int:
    wide = (ctypes.c_long(value) if isinstance(value, int) else value for value in arguments)
    return int(libc().syscall(ctypes.c_long(number), *wide))


def _raise_for(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"Landlock: {os.strerror(number)}")
    return result
