"""The host's files."""

from tests.attacks.attack import Attack, on_grounds, told

FILES = [
    Attack("read a file", "files", "return open(t['file']).read()", told("file")),
    Attack(
        "read a file by a raw system call",
        "files",
        """
        descriptor = syscall("openat", -100, t["file"].encode(), os.O_RDONLY)
        return os.read(descriptor, 100).decode()
        """,
        told("file"),
    ),
    Attack(
        "read a file through /proc/self/root",
        "files",
        "return open('/proc/self/root' + t['file']).read()",
        told("file"),
    ),
    Attack(
        "read a file through the C library",
        "files",
        """
        libc.fopen.restype = ctypes.c_void_p
        stream = libc.fopen(t["file"].encode(), b"r")
        if not stream:
            checked(-1)
        text = ctypes.create_string_buffer(100)
        libc.fread(text, 1, 99, ctypes.c_void_p(stream))
        return text.value.decode()
        """,
        told("file"),
    ),
    Attack("list a folder", "files", "return os.listdir(t['folder'])", told("name")),
    Attack(
        "learn a file's size",
        "files",
        "return os.stat(t['file']).st_size",
        lambda seen: seen.evidence == len(seen.grounds.secrets["file"]),
    ),
    Attack("write a file", "files", "open(t['loot'], 'w').write('x')", on_grounds(lambda host: host.loot_bytes() > 0)),
    Attack(
        "empty a file",
        "files",
        "checked(libc.truncate(t['file'].encode(), ctypes.c_long(0)))",
        on_grounds(lambda host: host.file.stat().st_size == 0),
    ),
    Attack("delete a file", "files", "os.unlink(t['file'])", on_grounds(lambda host: not host.file.exists())),
    Attack(
        "rename a file", "files", "os.rename(t['file'], t['loot'])", on_grounds(lambda host: not host.file.exists())
    ),
    Attack(
        "link to a file", "files", "os.symlink(t['file'], t['loot'])", on_grounds(lambda host: host.loot_bytes() >= 0)
    ),
    Attack(
        "change a file's mode",
        "files",
        "os.chmod(t['file'], 0o4777)",
        on_grounds(lambda host: host.file.stat().st_mode & 0o7777 == 0o4777),
    ),
    Attack(
        "fill the disk",
        "bombs",
        """
        with open(t["loot"], "wb") as file:
            for _ in range(64):
                file.write(bytes(2**20))
        """,
        on_grounds(lambda host: host.loot_bytes() >= 32 * 2**20),
    ),
    Attack(
        "make thousands of files",
        "bombs",
        """
        os.mkdir(t["loot"])
        for number in range(2000):
            os.close(os.open(f"{t['loot']}/{number}", os.O_CREAT | os.O_WRONLY))
        """,
        on_grounds(lambda host: host.loot.is_dir() and len(list(host.loot.iterdir())) >= 1000),
    ),
]
