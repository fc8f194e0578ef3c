"""Turns itself into another program that cannot outlive the process that asked for it.

Run as a script (``python -I -S launch.py OPTIONS COMMAND...``) between the supervisor and each of its children. Doing
this in a small program of its own, and not between fork and exec in the supervisor, keeps it safe beside threads.

OPTIONS is a JSON object: ``parent`` (pid that must still be alive), ``signal`` (what to receive when it dies), and
optionally ``uid``, ``gid`` (become this user) and ``reach`` (keep the right to pass closed directories as that user).
"""

import ctypes
import json
import os
import sys

PR_SET_PDEATHSIG = 1
PR_SET_KEEPCAPS = 8
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAP_DAC_OVERRIDE = 1
CAPABILITY_VERSION_3 = 0x20080522


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Data(ctypes.Structure):
    _fields_ = [("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32)]


def _call(name: str, *arguments: object) -> None:
    """One call of the C library; raises OSError when it fails."""
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _keep_one_capability(capability: int) -> None:
    """Drop every capability but one, which survives exec. Call after a setuid under PR_SET_KEEPCAPS."""
    bit = 1 << capability
    data = (_Data * 2)(_Data(bit, bit, bit), _Data(0, 0, 0))
    _call("capset", ctypes.byref(_Header(CAPABILITY_VERSION_3, 0)), data)
    _call("prctl", PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0)


def become(uid: int, gid: int, reach: bool) -> None:
    """Give up root for good; ``reach`` (Linux) keeps CAP_DAC_OVERRIDE, to open files below a closed home directory."""
    keep = reach and sys.platform == "linux"
    if keep:
        _call("prctl", PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    if keep:
        _keep_one_capability(CAP_DAC_OVERRIDE)


def die_with(parent: int, signal: int) -> None:
    """Ask the kernel for ``signal`` when the parent dies (Linux). Changing user clears the request: do that first."""
    if sys.platform != "linux":
        return
    _call("prctl", PR_SET_PDEATHSIG, signal, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("the parent is already gone")


def main() -> None:
    options = json.loads(sys.argv[1])
    command = sys.argv[2:]
    if "uid" in options:
        become(options["uid"], options["gid"], options["reach"])
    die_with(options["parent"], options["signal"])
    os.execv(command[0], command)  # noqa: S606 - the command comes from the supervisor


if __name__ == "__main__":
    main()
