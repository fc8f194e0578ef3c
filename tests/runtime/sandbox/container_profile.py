"""Becomes another program below the seccomp filter that a container engine puts around every container by default.

Run as ``container_profile.py NAMES FOLDERS ARGUMENT ...``: starts this Python with the arguments. The filter follows
what Docker documents of its default profile (https://docs.docker.com/engine/security/seccomp/): unknown calls are
absent; no namespaces, no other processes' memory, no keys, modules, mounts, clocks, io_uring or BPF; ``clone3`` is
absent, so that nobody can hide namespaces in memory that a filter cannot read. In NAMES, ``no-landlock`` and
``no-seccomp`` forbid those as well, as older and stricter profiles do.
"""

import ctypes
import errno
import os
import struct
import sys

sys.path += sys.argv[2].split(":")
from outlet._guest import linux
from outlet._guest.seccomp import _ALLOW, _ERRNO, _answer, _instruction

LOAD, EQUAL, AT_LEAST, BITS = 0x20, 0x15, 0x35, 0x45
NUMBER, ARCHITECTURE, FIRST_ARGUMENT = 0, 4, 16
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
NEWEST = 462  # mseal
NAMESPACES = 0x7E020000  # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
VSOCK = 40
SET_SECCOMP = 22

# Numbers on x86_64 and aarch64; None: no such call there.
BLOCKED: dict[str, tuple[int, int | None]] = {
    "acct": (163, 89),
    "add_key": (248, 217),
    "bpf": (321, 280),
    "clock_adjtime": (305, 266),
    "clock_settime": (227, 112),
    "delete_module": (176, 106),
    "finit_module": (313, 273),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "get_mempolicy": (239, 236),
    "init_module": (175, 105),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "ioperm": (173, None),
    "iopl": (172, None),
    "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "lookup_dcookie": (212, 18),
    "mbind": (237, 235),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "move_pages": (279, 239),
    "nfsservctl": (180, 42),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "pivot_root": (155, 41),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "quotactl": (179, 60),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "set_mempolicy": (238, 237),
    "setns": (308, 268),
    "settimeofday": (164, 170),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
    "vhangup": (153, 58),
}
CLONE, CLONE3, PERSONALITY, SOCKET, PRCTL = (56, 220), (435, 435), (135, 92), (41, 198), (157, 167)
LANDLOCK = (444, 445, 446)


def profile(names: str, machine: str) -> bytes:
    """The filter as BPF."""
    column = list(ARCHITECTURES).index(machine)
    refuse, absent, allow = _answer(_ERRNO | errno.EPERM), _answer(_ERRNO | errno.ENOSYS), _answer(_ALLOW)
    code = [
        *(_instruction(LOAD, ARCHITECTURE), _instruction(EQUAL, ARCHITECTURES[machine], 1, 0), refuse),
        *(_instruction(LOAD, NUMBER), _instruction(AT_LEAST, NEWEST + 1, 0, 1), absent),
    ]

    def on(number: int, *body: bytes) -> None:
        code.extend((_instruction(EQUAL, number, 0, len(body)), *body))

    def when(number: int, test: int, values: tuple[int, ...], *, passes: bool) -> None:
        """Allow or refuse by the first argument."""
        jumped, fell = (allow, refuse) if passes else (refuse, allow)
        tests = [_instruction(test, value, len(values) - place, 0) for place, value in enumerate(values)]
        on(number, _instruction(LOAD, FIRST_ARGUMENT), *tests, fell, jumped)

    for numbers in BLOCKED.values():
        if (number := numbers[column]) is not None:
            on(number, refuse)
    on(CLONE3[column], absent)
    when(CLONE[column], BITS, (NAMESPACES,), passes=False)
    when(PERSONALITY[column], EQUAL, PERSONALITIES, passes=True)
    when(SOCKET[column], EQUAL, (VSOCK,), passes=False)
    if "no-landlock" in names:
        for call in LANDLOCK:
            on(call, refuse)
    if "no-seccomp" in names:
        when(PRCTL[column], EQUAL, (SET_SECCOMP,), passes=False)
    return b"".join([*code, allow])


def main() -> None:
    code = profile(sys.argv[1], os.uname().machine)
    kept = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("@HP", len(code) // 8, ctypes.addressof(kept))
    program = ctypes.create_string_buffer(header, len(header))
    linux.give_up_new_privileges()
    linux.prctl(SET_SECCOMP, 2, ctypes.addressof(program))
    os.execv(sys.executable, [sys.executable, *sys.argv[3:]])  # noqa: S606  itself


if __name__ == "__main__":
    main()
