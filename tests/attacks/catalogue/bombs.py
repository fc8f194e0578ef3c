"""More than its share: memory, descriptors, kernel memory, what outlives it in the kernel."""

from tests.attacks.attack import Attack, host_grew, on_grounds, peak

LIMITS = "memoryMib = 128\n"
TOO_MUCH_MIB = 320

BOMBS = [
    Attack(
        "take memory",
        "bombs",
        "kept = [b'x' * 2**20 for _ in range(512)]\nawait asyncio.sleep(0.2)",
        peak(lambda most: most.mib >= TOO_MUCH_MIB),
        limits=LIMITS,
    ),
    Attack(
        "take shared memory without a name",
        "bombs",
        """
        kept = mmap.mmap(-1, 512 * 2**20)
        for page in range(0, len(kept), 4096):
            kept[page] = 1
        await asyncio.sleep(0.2)
        """,
        peak(lambda most: most.mib >= TOO_MUCH_MIB),
        limits=LIMITS,
    ),
    Attack(
        "take memory that no process shows (memfd)",
        "bombs",
        """
        kept = syscall("memfd_create", b"kept", 0)
        for _ in range(128):
            os.write(kept, bytes(2**20))
        return os.fstat(kept).st_size
        """,
        lambda seen: (seen.evidence or 0) >= 64 * 2**20,
    ),
    Attack(
        "take the kernel's memory (pipes)",
        "bombs",
        """
        kept = 0
        for _ in range(500):
            reading, writing = os.pipe()
            os.set_blocking(writing, False)
            kept += os.write(writing, bytes(65536))
        await asyncio.sleep(0.1)
        return kept
        """,
        lambda seen: (seen.evidence or 0) >= 16 * 2**20,
    ),
    Attack(
        "take descriptors",
        "bombs",
        """
        opened = 0
        for _ in range(2000):
            os.dup(3)
            opened += 1
        await asyncio.sleep(0.2)
        return opened
        """,
        lambda seen: seen.peaks.descriptors >= 1000 or (seen.evidence or 0) >= 1000,
    ),
    Attack(
        "flood standard output",
        "bombs",
        """
        for _ in range(64):
            for output in (1, 2):
                left = bytes(2**20)
                while left:
                    left = left[os.write(output, left):]
        await asyncio.sleep(0.3)
        """,
        host_grew(48),
    ),
    Attack(
        "lift its own limits",
        "bombs",
        """
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        """,
        lambda seen: (seen.evidence or 0) >= 1000,
    ),
    Attack(
        "leave shared memory behind",
        "shared memory",
        """
        with open(f"/dev/shm/{t['shared_name']}", "wb") as file:
            file.write(b"for my accomplice")
        """,
        on_grounds(lambda host: host.shared_file()),
    ),
    Attack(
        "leave shared memory behind (System V)",
        "shared memory",
        "checked(libc.shmget(t['ipc_key'], ctypes.c_size_t(4096), 0o1666))",
        on_grounds(lambda host: bool(host.system_v("shm"))),
    ),
    Attack(
        "leave a message queue behind (System V)",
        "shared memory",
        "checked(libc.msgget(t['ipc_key'], 0o1666))",
        on_grounds(lambda host: bool(host.system_v("msg"))),
    ),
    Attack(
        "leave a message on the user's keyring",
        "shared memory",
        "syscall('add_key', b'user', t['shared_name'].encode(), b'x', ctypes.c_size_t(1), -4)",
        on_grounds(lambda host: host.user_key() > 0),
        may_be_refused=True,
    ),
]
