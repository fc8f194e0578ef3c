"""Doors into the kernel that no plugin needs, and code of its own making."""

from tests.attacks.attack import Attack, returned, told

# mov eax, 42; ret  and  mov w0, #42; ret
CODE = r"""
code = bytes.fromhex("b82a000000c3" if X86 else "40058052c0035fd6")
run = ctypes.CFUNCTYPE(ctypes.c_int)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]

def mapped(length, protection, flags, descriptor=-1):
    found = libc.mmap(None, length, protection, flags, descriptor, 0)
    if found == ctypes.c_void_p(-1).value:
        checked(-1)
    return found
"""


def crafted(body: str) -> str:
    """The body of an attack that runs machine code of its own; ``run(address)()`` gives 42."""
    return CODE + body


KERNEL = [
    Attack(
        "run code of its own (mmap)",
        "code",
        crafted("""
page = mapped(4096, 7, 0x22)
ctypes.memmove(page, code, len(code))
return run(page)()
"""),
        returned(42),
    ),
    Attack(
        "run code of its own (mprotect)",
        "code",
        crafted("""
page = mapped(4096, 3, 0x22)
ctypes.memmove(page, code, len(code))
checked(libc.mprotect(ctypes.c_void_p(page), ctypes.c_size_t(4096), 5))
return run(page)()
"""),
        returned(42),
    ),
    Attack(
        "run code of its own (pkey_mprotect)",
        "code",
        crafted("""
page = mapped(4096, 3, 0x22)
ctypes.memmove(page, code, len(code))
checked(libc.syscall(329 if X86 else 288, ctypes.c_void_p(page), ctypes.c_size_t(4096), 5, -1))
return run(page)()
"""),
        returned(42),
    ),
    Attack(
        "run code of its own (memfd)",
        "code",
        crafted("""
file = syscall("memfd_create", b"code", 0)
os.write(file, code.ljust(4096, b"\\0"))
return run(mapped(4096, 5, 2, file))()
"""),
        returned(42),
    ),
    Attack(
        "make all its memory executable (personality)",
        "code",
        crafted("""
syscall("personality", 0x0400000)
page = mapped(4096, 3, 0x22)
ctypes.memmove(page, code, len(code))
return run(page)()
"""),
        returned(42),
        machines=("x86_64",),
        may_be_refused=True,
    ),
    Attack(
        "read a file by code for another ABI (int 0x80)",
        "code",
        crafted("""
opening = bytes.fromhex("53b80500000089fb31c931d2cd8048985bc3")
page = mapped(4096, 7, 0x62)
ctypes.memmove(page, opening, len(opening))
path = t["file"].encode() + bytes(1)
ctypes.memmove(page + 1024, path, len(path))
descriptor = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_uint)(page)(page + 1024)
return os.read(descriptor, 100).decode()
"""),
        told("file"),
        machines=("x86_64",),
        may_be_refused=True,
    ),
    Attack(
        "read a file by a system call of another ABI (x32)",
        "code",
        """
        descriptor = checked(libc.syscall(0x40000000 | 257, -100, t["file"].encode(), 0))
        return os.read(descriptor, 100).decode()
        """,
        told("file"),
        machines=("x86_64",),
        may_be_refused=True,
    ),
    Attack(
        "make an io_uring",
        "kernel",
        "return syscall('io_uring_setup', 4, ctypes.create_string_buffer(120)) > 0",
        returned(True),
        may_be_refused=True,
    ),
    Attack(
        "handle page faults (userfaultfd)",
        "kernel",
        "return syscall('userfaultfd', 1) > 0",
        returned(True),
        may_be_refused=True,
    ),
    Attack(
        "give the kernel a BPF map",
        "kernel",
        "return syscall('bpf', 0, struct.pack('IIIII52x', 2, 4, 4, 1, 0), 72) > 0",
        returned(True),
        may_be_refused=True,
    ),
    Attack(
        "measure the machine (perf_event_open)",
        "kernel",
        "return syscall('perf_event_open', struct.pack('IIQ104x', 1, 120, 0)[:120], 0, -1, -1, 0) > 0",
        returned(True),
        may_be_refused=True,
    ),
    Attack(
        "become root in a namespace of its own",
        "kernel",
        "return syscall('unshare', 0x10000000)",
        returned(0),
        may_be_refused=True,
    ),
    Attack(
        "mount a file system",
        "kernel",
        """
        syscall("unshare", 0x20000)
        syscall("mount", None, b"/", None, ctypes.c_ulong(0x44000), None)
        syscall("mount", b"none", t["folder"].encode(), b"tmpfs", ctypes.c_ulong(0), None)
        return os.path.exists(t["file"])
        """,
        returned(False),
        may_be_refused=True,
    ),
    Attack(
        "change its root folder",
        "kernel",
        "os.chroot(t['folder'])\nreturn 'changed'",
        returned("changed"),
        may_be_refused=True,
    ),
    Attack(
        "run before everyone else (real-time scheduling)",
        "kernel",
        "os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))\nreturn os.sched_getscheduler(0)",
        returned(2),
        may_be_refused=True,
    ),
    Attack(
        "become another user",
        "kernel",
        "os.setgid(12345)\nos.setuid(12345)\nreturn os.getuid()",
        returned(12345),
        may_be_refused=True,
    ),
    Attack(
        "make its memory dumpable",
        "kernel",
        "libc.prctl(4, 1)\nreturn libc.prctl(3) == 1 and resource.getrlimit(resource.RLIMIT_CORE)[1] != 0",
        returned(True),
        may_be_refused=True,
    ),
]
