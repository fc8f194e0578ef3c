"""A default-deny seccomp filter: what a confined guest may ask the kernel for.

Three answers. What the interpreter and asyncio need on descriptors that are open already is allowed. What ordinary
Python code may try is refused with EPERM, which it sees as a PermissionError. Everything else kills the process.
seccomp(2), and classic BPF as in linux/filter.h.
"""

import ctypes
import errno
import os
import platform
import signal
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from outlet._guest.linux import prctl
from outlet._guest.syscalls import NUMBERS

_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2

_KILL_PROCESS = 0x80000000
_ERRNO = 0x00050000
_ALLOW = 0x7FFF0000

# Architectures as the kernel names them for seccomp (AUDIT_ARCH_*), with the column of the table of numbers.
_ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
_X32_BIT = 0x40000000

# struct seccomp_data: the number, the architecture, the instruction pointer, six arguments of 64 bits.
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
# Classic BPF: load a word of the data, jump when equal / at least / any bit set, return.
_LOAD, _EQUAL, _AT_LEAST, _BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06

_PROT_EXEC = 4
_CLOCKS = 12
"""Clocks below this number are the system's and the process's own; the others measure any process."""
_LETHAL_SIGNALS = (signal.SIGXCPU, signal.SIGPROF)
_OWN_FLAGS = (1, 2, 3, 4)  # fcntl: F_GETFD, F_SETFD, F_GETFL, F_SETFL; no owners, leases, locks or duplicates
_NON_BLOCKING = (0x5421, 0x5450, 0x5451)  # ioctl: FIONBIO, FIONCLEX, FIOCLEX
_ADVICE = (0, 1, 2, 3, 4, 8, 14, 15)  # madvise: no shared pages, no poison, no locking of memory

ALLOWED = (
    *("recvfrom", "sendto", "epoll_wait", "epoll_pwait", "epoll_pwait2", "epoll_ctl", "read", "write", "readv"),
    *("writev", "poll", "ppoll", "select", "pselect6", "close", "close_range", "lseek", "fstat"),
    *("getsockopt", "getsockname", "getpeername", "shutdown"),
    *("brk", "munmap", "mremap", "futex", "sched_yield", "restart_syscall"),
    *("rt_sigprocmask", "rt_sigreturn", "rt_sigpending", "rt_sigtimedwait", "rt_sigsuspend", "sigaltstack", "pause"),
    *("nanosleep", "clock_nanosleep", "gettimeofday", "time", "times", "setitimer", "getitimer", "alarm"),
    *("getrandom", "getrusage", "getpid", "getppid", "gettid", "getuid", "geteuid", "getgid", "getegid", "getpgrp"),
    *("uname", "exit", "exit_group"),
)

REFUSED = (
    *("open", "openat", "creat", "stat", "lstat", "newfstatat", "statx", "access", "faccessat", "faccessat2"),
    *("readlink", "readlinkat", "getcwd", "chdir", "fchdir", "mkdir", "mkdirat", "rmdir", "unlink", "unlinkat"),
    *("rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat", "mknod", "mknodat", "umask"),
    *("chmod", "fchmod", "fchmodat", "chown", "lchown", "fchown", "fchownat", "truncate", "ftruncate", "fallocate"),
    *("getdents", "getdents64", "statfs", "fstatfs", "utime", "utimes", "futimesat", "utimensat", "sync", "fsync"),
    *("fdatasync", "flock", "fadvise64", "sendfile", "pread64", "pwrite64", "preadv", "pwritev"),
    *("getxattr", "lgetxattr", "fgetxattr", "listxattr", "llistxattr", "flistxattr"),
    *("socket", "socketpair", "bind", "connect", "listen", "accept", "accept4", "setsockopt"),
    *("sendmsg", "recvmsg", "sendmmsg", "recvmmsg"),
    *("clone", "fork", "vfork", "execve", "wait4", "waitid", "pipe", "pipe2", "dup", "dup2", "dup3"),
    *("eventfd", "eventfd2", "timerfd_create", "signalfd4", "epoll_create", "epoll_create1"),
    *("inotify_init", "inotify_init1", "prlimit64", "getrlimit", "setrlimit", "getpriority", "setpriority"),
    *("sched_getaffinity", "sched_setaffinity", "sched_getscheduler", "sched_setscheduler", "sched_getparam"),
    *("sched_get_priority_max", "sched_get_priority_min", "sysinfo", "getsid", "setsid", "getpgid", "setpgid"),
    *("setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "getresuid", "getresgid"),
    *("getgroups", "setgroups", "prctl", "tkill", "clock_settime"),
)


@dataclass(frozen=True, slots=True)
class Rule:
    """A call that is allowed when the low 32 bits of one argument pass: every one of these is 32 bits in the kernel.

    ``test`` is an instruction; ``passes`` says whether the argument passes when it jumps. Else the answer is EPERM.
    """

    name: str
    argument: int
    test: int
    values: tuple[int, ...]
    passes: bool


def rules(pid: int) -> tuple[Rule, ...]:
    """The calls of a process ``pid`` that are allowed for some arguments."""
    return (
        Rule("mmap", 2, _BITS, (_PROT_EXEC,), passes=False),
        Rule("mprotect", 2, _BITS, (_PROT_EXEC,), passes=False),
        Rule("madvise", 2, _EQUAL, _ADVICE, passes=True),
        Rule("clock_gettime", 0, _AT_LEAST, (_CLOCKS,), passes=False),
        Rule("clock_getres", 0, _AT_LEAST, (_CLOCKS,), passes=False),
        Rule("rt_sigaction", 0, _EQUAL, _LETHAL_SIGNALS, passes=False),
        Rule("fcntl", 1, _EQUAL, _OWN_FLAGS, passes=True),
        Rule("ioctl", 1, _EQUAL, _NON_BLOCKING, passes=True),
        Rule("kill", 0, _EQUAL, (pid,), passes=True),
        Rule("tgkill", 0, _EQUAL, (pid,), passes=True),
    )


def program(machine: str, pid: int) -> bytes:
    """The filter for a machine (``x86_64`` or ``aarch64``) as BPF instructions. Raises OSError for any other."""
    if machine not in _ARCHITECTURES:
        raise OSError(errno.ENOSYS, f"no seccomp filter for {machine}")
    architecture, column = _ARCHITECTURES[machine]
    code = [
        *(_instruction(_LOAD, _ARCHITECTURE), _instruction(_EQUAL, architecture, 1, 0), _answer(_KILL_PROCESS)),
        *(_instruction(_LOAD, _NUMBER), _instruction(_AT_LEAST, _X32_BIT, 0, 1), _answer(_KILL_PROCESS)),
    ]

    def on(names: Iterable[str], answer: bytes) -> None:
        for name in names:
            number = NUMBERS[name][column]
            if number is not None:
                code.extend((_instruction(_EQUAL, number, 0, 1), answer))

    on(ALLOWED, _answer(_ALLOW))
    for rule in rules(pid):
        number = NUMBERS[rule.name][column]
        if number is not None:
            body = _test(rule)
            code.extend((_instruction(_EQUAL, number, 0, len(body)), *body))
    on(REFUSED, _answer(_ERRNO | errno.EPERM))
    on(("clone3",), _answer(_ERRNO | errno.ENOSYS))  # the C library then tries clone, and reports its EPERM
    return b"".join([*code, _answer(_KILL_PROCESS)])


def install() -> None:
    """Put the filter on this process for good. Wants no_new_privs. Raises OSError where the kernel does not."""
    code = program(platform.machine(), os.getpid())
    instructions = ctypes.create_string_buffer(code, len(code))
    # struct sock_fprog: how many instructions, and where
    header = struct.pack("@HP", len(code) // 8, ctypes.addressof(instructions))
    filter_program = ctypes.create_string_buffer(header, len(header))
    prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(filter_program))


def _test(rule: Rule) -> list[bytes]:
    allow, refuse = _answer(_ALLOW), _answer(_ERRNO | errno.EPERM)
    jumped, fell_through = (allow, refuse) if rule.passes else (refuse, allow)
    last = len(rule.values) - 1
    return [
        _instruction(_LOAD, _ARGUMENTS + 8 * rule.argument),  # both architectures are little-endian
        *(_instruction(rule.test, value, last - index + 1, 0) for index, value in enumerate(rule.values)),
        fell_through,
        jumped,
    ]


def _instruction(code: int, operand: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, operand)


def _answer(action: int) -> bytes:
    return _instruction(_RETURN, action)
