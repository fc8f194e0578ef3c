"""What other processes hold in their environment, memory, descriptors and command lines; and the plugin's own."""

from tests.attacks.attack import Attack, on_grounds, told

MEMORY = [
    Attack("read its own environment", "memory", "return dict(os.environ)", told("environment")),
    Attack(
        "read its own environment behind Python's back",
        "memory",
        """
        entries = ctypes.POINTER(ctypes.c_char_p).in_dll(libc, "environ")
        return [entry.decode() for entry in itertools.takewhile(bool, entries)] if entries else []
        """,
        told("environment"),
    ),
    Attack(
        "read its own environment from /proc",
        "memory",
        "return open('/proc/self/environ').read()",
        told("environment"),
    ),
    Attack(
        "read a process's environment",
        "memory",
        "return open(f\"/proc/{t['decoy']}/environ\").read()",
        told("environment"),
    ),
    Attack(
        "read a process's command line",
        "memory",
        "return open(f\"/proc/{t['decoy']}/cmdline\").read()",
        told("command"),
    ),
    Attack(
        "read a process's memory from /proc",
        "memory",
        """
        with open(f"/proc/{t['decoy']}/mem", "rb", buffering=0) as memory:
            memory.seek(t["address"])
            return memory.read(t["length"]).decode()
        """,
        told("memory"),
    ),
    Attack(
        "read a process's memory (process_vm_readv)",
        "memory",
        """
        found = ctypes.create_string_buffer(t["length"])
        own = struct.pack("PN", ctypes.addressof(found), t["length"])
        theirs = struct.pack("PN", t["address"], t["length"])
        syscall("process_vm_readv", t["decoy"], own, 1, theirs, 1, 0)
        return found.raw.decode()
        """,
        told("memory"),
        may_be_refused=True,
    ),
    Attack(
        "overwrite a process's memory (process_vm_writev)",
        "memory",
        """
        given = ctypes.create_string_buffer(b"overwritten", 11)
        own = struct.pack("PN", ctypes.addressof(given), 11)
        theirs = struct.pack("PN", t["address"], 11)
        return syscall("process_vm_writev", t["decoy"], own, 1, theirs, 1, 0)
        """,
        on_grounds(lambda host: host.decoy_overwritten()),
        may_be_refused=True,
    ),
    Attack(
        "read a process's memory (ptrace)",
        "memory",
        """
        libc.ptrace.restype = ctypes.c_long
        libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
        checked(libc.ptrace(16, t["decoy"], None, None))
        os.waitpid(t["decoy"], 0x40000000)
        words = range(t["address"], t["address"] + t["length"], 8)
        found = b"".join(struct.pack("l", libc.ptrace(2, t["decoy"], word, None)) for word in words)
        libc.ptrace(17, t["decoy"], None, None)
        return found[:t["length"]].decode()
        """,
        told("memory"),
        may_be_refused=True,
    ),
    Attack(
        "take a process's open file (pidfd_getfd)",
        "memory",
        """
        taken = syscall("pidfd_getfd", syscall("pidfd_open", t["decoy"], 0), t["descriptor"], 0)
        return os.pread(taken, 100, 0).decode()
        """,
        told("descriptor"),
        may_be_refused=True,
    ),
    Attack(
        "open a process's open file from /proc",
        "memory",
        "return open(f\"/proc/{t['decoy']}/fd/{t['descriptor']}\").read()",
        told("descriptor"),
    ),
]
