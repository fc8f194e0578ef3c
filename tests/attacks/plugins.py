"""Makes plugins of attacks: real packages, built as an author's are."""

import textwrap
from pathlib import Path

from outlet import package
from outlet.package import Package
from tests.attacks.attack import Attack

ABOUT = """
[plugin]
id = "attacker"
name = "Attacker"
version = "1.0.0"
author = "Tests"
description = "Tries what it must not."

[limits]
"""

# The tables in it: numbers of system calls on x86_64 and aarch64.
HEAD = """
import asyncio, ctypes, errno, fcntl, itertools, json, mmap, os, platform, re, resource, signal
import socket, struct, sys, time
from outlet import Api, Event, Plugin, Request

plugin = Plugin()
libc = ctypes.CDLL(None, use_errno=True)
X86 = platform.machine() == "x86_64"
NUMBERS = {
    "openat": (257, 56), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438), "pidfd_send_signal": (424, 424), "clone3": (435, 435), "io_uring_setup": (425, 425),
    "bpf": (321, 280), "userfaultfd": (323, 282), "perf_event_open": (298, 241), "memfd_create": (319, 279),
    "add_key": (248, 217), "unshare": (272, 97), "personality": (135, 92), "mount": (165, 40), "execveat": (322, 281),
}

def checked(result):
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result

def syscall(name, *arguments):
    number = NUMBERS[name][0 if X86 else 1]
    return checked(libc.syscall(number, *arguments))

def send(data):
    # straight into the connection to the host
    os.set_blocking(3, True)
    while data:
        data = data[os.write(3, data):]

def frame(body):
    send(len(body).to_bytes(4, "big") + body)

@plugin.route("POST", "/attack")
async def run(api: Api, request: Request):
    return {"evidence": await attack(json.loads(request.body), api)}

@plugin.hook("sale.created")
async def nothing() -> None: ...

"""


def build(attack: Attack, folder: Path) -> Package:
    """The package of an attack's plugin; ``folder`` is where its source is written."""
    body = "async def attack(t, api):\n" + textwrap.indent(textwrap.dedent(attack.body).strip(), "    ") + "\n"
    (folder / "plugin.toml").write_text(ABOUT + attack.limits)
    (folder / "attacker").mkdir(exist_ok=True)
    (folder / "attacker" / "__init__.py").write_text(HEAD + body)
    return package.build(folder)
