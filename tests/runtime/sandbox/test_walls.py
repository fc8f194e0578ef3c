"""What a plugin cannot do behind the walls, and that what it needs of the standard library works there."""

import asyncio
import json
import platform
import signal
import sys
from typing import Any

import pytest

from services.common.runtime_client import PluginFailed
from tests.runtime.sandbox.conftest import StartPlugin
from tests.runtime.sandbox.plugins import Caller

PLUGIN = """
import ctypes

@plugin.route("POST", "/try")
async def attempt(api: Api, request: Request) -> dict:
    scope = {}
    try:
        exec(request.json()["code"], scope)
    except Exception as error:
        return {"error": type(error).__name__, "text": str(error), "value": None}
    return {"error": None, "value": scope.get("value")}

@plugin.route("POST", "/syscall")
async def system_call(api: Api, request: Request) -> dict:
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.syscall(*(ctypes.c_long(number) for number in request.json()["numbers"]))
    return {"result": result, "errno": ctypes.get_errno()}
"""

REFUSED = {
    "read a file": "open('/etc/passwd')",
    "read its own environment": "open('/proc/self/environ')",
    "write a file": "open('/tmp/x', 'w')",
    "list a folder": "import os; os.listdir('/')",
    "see whether a file is there": "import os; os.stat('/etc/passwd')",
    "read a link": "import os; os.readlink('/proc/self/exe')",
    "remove a file": "import os; os.unlink('/tmp/x')",
    "open an internet socket": "import socket; socket.socket()",
    "open a socket of version 6": "import socket; socket.socket(socket.AF_INET6)",
    "open a local socket": "import socket; socket.socket(socket.AF_UNIX)",
    "open a netlink socket": "import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    "open a raw packet socket": "import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
    "open a vsock": "import socket; socket.socket(socket.AF_VSOCK)",
    "make a pair of sockets": "import socket; socket.socketpair()",
    "pass a descriptor": "import socket\ns = socket.socket(fileno=3)\ntry: s.sendmsg([b'x'])\nfinally: s.detach()",
    "fork": "import os; os.fork()",
    "start a program": "import subprocess; subprocess.run(['true'])",
    "become a program": "import os; os.execv('/bin/true', ['true'])",
    "make a pipe": "import os; os.pipe()",
    "copy a descriptor": "import os; os.dup(3)",
    "raise a limit": "import resource\ntry: resource.setrlimit(resource.RLIMIT_CPU, (9, 9))\n"
    "except ValueError as error: raise PermissionError from error",
    "limit another process": "import os, resource; resource.prlimit(os.getppid(), resource.RLIMIT_CPU)",
    "signal its parent": "import os; os.kill(os.getppid(), 0)",
    "signal everybody": "import os; os.kill(-1, 0)",
    "signal its group": "import os; os.killpg(0, 0)",
    "become another user": "import os; os.setuid(65534)",
    "leave its session": "import os; os.setsid()",
    "read another process's clock": "import os, time; time.clock_gettime((~os.getppid()) << 3 | 2)",
    "own its descriptor's signals": "import fcntl, os; fcntl.fcntl(3, fcntl.F_SETOWN, os.getppid())",
    "map memory to run": "import mmap; mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC)",
}

# Numbers of x86_64; the others are those of the generic table.
LETHAL = {
    "io_uring_setup": (425, 425),
    "memfd_create": (319, 279),
    "userfaultfd": (323, 282),
    "bpf": (321, 280),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "mount": (165, 40),
    "unshare": (272, 97),
    "setns": (308, 268),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "perf_event_open": (298, 241),
    "personality": (135, 92),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
    "openat2": (437, 437),
    "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264),
    "init_module": (175, 105),
    "kexec_load": (246, 104),
    "reboot": (169, 142),
    "chroot": (161, 51),
    "pivot_root": (155, 41),
    "seccomp": (317, 277),
    "landlock_create_ruleset": (444, 444),
    "mlockall": (151, 230),
    "pkey_mprotect": (329, 288),
    "timer_create": (222, 107),
    "rt_sigqueueinfo": (129, 138),
    "splice": (275, 76),
    "io_setup": (206, 0),
    "acct": (163, 89),
    "a number that does not exist": (1023, 1023),
}

COLUMN = 1 if platform.machine() == "aarch64" else 0


async def attempt(caller: Caller, code: str) -> dict[str, Any]:
    answer = await caller.route("POST", "/try", body=json.dumps({"code": code}).encode())
    found: dict[str, Any] = json.loads(answer.body)
    return found


async def system_call(caller: Caller, *numbers: int) -> dict[str, Any]:
    answer = await caller.route("POST", "/syscall", body=json.dumps({"numbers": numbers}).encode())
    found: dict[str, Any] = json.loads(answer.body)
    return found


async def test_what_ordinary_code_may_try_is_refused_and_the_plugin_lives(start_plugin: StartPlugin) -> None:
    caller = start_plugin(PLUGIN)
    outcomes = {what: (await attempt(caller, code))["error"] for what, code in REFUSED.items()}
    assert outcomes == dict.fromkeys(REFUSED, "PermissionError")
    assert (await attempt(caller, "value = 1"))["value"] == 1


async def test_threads_cannot_be_started(start_plugin: StartPlugin) -> None:
    outcome = await attempt(start_plugin(PLUGIN), "import threading; threading.Thread(target=print).start()")
    assert outcome["error"] == "RuntimeError"


@pytest.mark.parametrize("name", LETHAL)
async def test_what_only_an_attacker_tries_ends_the_process(start_plugin: StartPlugin, name: str) -> None:
    caller = start_plugin(PLUGIN)
    with pytest.raises(PluginFailed, match="a system call that the sandbox forbids") as raised:
        await system_call(caller, LETHAL[name][COLUMN], 0, 0, 0, 0, 0, 0)
    assert raised.value.code == "plugin_exited"
    assert (await attempt(caller, "value = 1"))["value"] == 1


async def test_memory_cannot_be_made_executable_later(start_plugin: StartPlugin) -> None:
    code = """
import ctypes, mmap
page = mmap.mmap(-1, mmap.PAGESIZE)
address = ctypes.addressof(ctypes.c_char.from_buffer(page))
libc = ctypes.CDLL(None, use_errno=True)
libc.mprotect.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
value = [libc.mprotect(address, mmap.PAGESIZE, 5), ctypes.get_errno()]
"""
    assert (await attempt(start_plugin(PLUGIN), code))["value"] == [-1, 1]


@pytest.mark.skipif(COLUMN == 1, reason="x86_64 has this other way to call the kernel")
async def test_the_x32_interface_is_closed(start_plugin: StartPlugin) -> None:
    with pytest.raises(PluginFailed, match="a system call that the sandbox forbids"):
        await system_call(start_plugin(PLUGIN), 0x40000000 | 39)


INT_80 = """
import ctypes, mmap
from outlet._guest import linux, seccomp
page = mmap.mmap(-1, 4096, prot=7)
page.write(bytes.fromhex("b814000000cd80c3"))  # mov eax, 20 (getpid of i386); int 0x80; ret
function = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
function()
linux.give_up_new_privileges()
seccomp.install()
function()
"""


@pytest.mark.skipif(COLUMN == 1, reason="x86_64 has this other way to call the kernel")
async def test_the_32_bit_interface_is_closed() -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", INT_80)
    assert await process.wait() == -signal.SIGSYS


WORKS = {
    "json": ("import json; value = json.loads(json.dumps({'a': [1.5, None]}))", {"a": [1.5, None]}),
    "datetime": ("from datetime import datetime; value = datetime(2026, 3, 1).astimezone().isoformat()",
                 "2026-03-01T00:00:00+00:00"),
    "now": ("from datetime import datetime, UTC; value = datetime.now(UTC).year > 2000", True),
    "strptime": ("from datetime import datetime; value = str(datetime.strptime('3 Mar 2026', '%d %b %Y').date())",
                 "2026-03-03"),
    "decimal": ("from decimal import Decimal; value = str(Decimal('1.10') * 3)", "3.30"),
    "regular expressions": ("import re; value = re.findall('[0-9]+', 'a1b22')", ["1", "22"]),
    "data classes": ("import dataclasses; value = dataclasses.asdict(dataclasses.make_dataclass('P', ['x'])(3))",
                     {"x": 3}),
    "zones": ("from zoneinfo import ZoneInfo; from datetime import datetime; "
              "value = datetime(2026, 7, 1, tzinfo=ZoneInfo('America/Argentina/Buenos_Aires')).isoformat()",
              "2026-07-01T00:00:00-03:00"),
    "zone of a top level name": ("from zoneinfo import ZoneInfo; value = str(ZoneInfo('UTC'))", "UTC"),
    "all zones": ("import zoneinfo; value = len(zoneinfo.available_timezones()) > 400", True),
    "no zone": ("import zoneinfo\ntry: zoneinfo.ZoneInfo('Mars/Base')\n"
                "except zoneinfo.ZoneInfoNotFoundError: value = 'none'", "none"),
    "digests": ("import hashlib, hmac; value = [hashlib.sha256(b'a').hexdigest()[:6], "
                "hashlib.new('blake2b', b'a').hexdigest()[:6], hmac.digest(b'k', b'm', 'sha512').hex()[:4]]",
                ["ca9781", "333fcb", "94ec"]),
    "scrypt": ("import hashlib; value = len(hashlib.scrypt(b'p', salt=b's', n=2, r=1, p=1))", 64),
    "chance": ("import random, secrets, uuid; value = [0 <= random.random() < 1, len(secrets.token_bytes(8)), "
               "uuid.uuid4().version, uuid.uuid1().version]", [True, 8, 4, 1]),
    "time": ("import time; time.sleep(0.001); value = [time.time() > 1, time.localtime(0)[:4], "
             "time.process_time() > 0]",
             [True, [1970, 1, 1, 0], True]),
    "compression": ("import zlib, gzip, bz2, lzma; value = [m.decompress(m.compress(b'a')).decode() "
                    "for m in (zlib, gzip, bz2, lzma)]", ["a"] * 4),
    "mail": ("from email.message import EmailMessage; m = EmailMessage(); m['To'] = 'a@b.c'; m.set_content('é'); "
             "value = 'To: a@b.c' in m.as_string()", True),
    "tables of text": ("import csv, io; value = list(csv.reader(io.StringIO('a,b')))", [["a", "b"]]),
    "markup": ("import xml.etree.ElementTree as E, html; value = E.fromstring('<a><b>1</b></a>').find('b').text",
               "1"),
    "code pages": ("value = [bytes([233]).decode('cp1252'), 'é'.encode('utf-16-le').hex(), "
                   "'日'.encode('shift_jis').hex(),"
                   " 'bücher'.encode('idna').decode()]", ["é", "e900", "93fa", "xn--bcher-kva"]),
    "statistics": ("import statistics, fractions; value = [statistics.mean([1, 2, 3]), str(fractions.Fraction(1, 3))]",
                   [2, "1/3"]),
    "pickle and copies": ("import pickle, copy; value = pickle.loads(pickle.dumps(copy.deepcopy({'a': [1]})))",
                          {"a": [1]}),
    "an embedded database": ("import sqlite3; value = sqlite3.connect(':memory:').execute('select 1+1').fetchone()",
                             [2]),
    "addresses": ("import ipaddress, urllib.parse; value = [str(ipaddress.ip_address('::1')), "
                  "urllib.parse.quote('a b')]", ["::1", "a%20b"]),
    "logging": ("import logging; logging.getLogger('x').warning('to nobody'); value = 1", 1),
    "a traceback": ("import traceback\ntry: 1 / 0\nexcept Exception: "
                    "value = 'ZeroDivisionError' in traceback.format_exc()",
                    True),
    "small tools": ("import difflib, textwrap, pprint, graphlib, contextvars, weakref, enum, array, struct, locale, "
                    "gettext, string, shlex, tomllib, configparser, unittest, inspect, ast, sched, cmath, colorsys, "
                    "unicodedata, http.client, concurrent.futures, multiprocessing, tempfile, shutil; value = 1", 1),
}  # fmt: skip


async def test_the_standard_library_works_from_memory(start_plugin: StartPlugin) -> None:
    caller = start_plugin(PLUGIN)
    outcomes = {what: await attempt(caller, code) for what, (code, _) in WORKS.items()}
    assert {what: outcome for what, outcome in outcomes.items() if outcome["error"]} == {}
    assert {what: outcome["value"] for what, outcome in outcomes.items()} == {
        what: expected for what, (_, expected) in WORKS.items()
    }


async def test_asyncio_works_within_a_handler(start_plugin: StartPlugin) -> None:
    caller = start_plugin("""
        @plugin.route("GET", "/run")
        async def run() -> dict:
            queue = asyncio.Queue()
            async with asyncio.timeout(1), asyncio.TaskGroup() as group:
                group.create_task(queue.put(1))
                got = await queue.get()
                await asyncio.sleep(0.001)
            try:
                await asyncio.wait_for(asyncio.Event().wait(), 0.001)
            except TimeoutError:
                return {"got": got}
    """)
    assert json.loads((await caller.route("GET", "/run")).body) == {"got": 1}
