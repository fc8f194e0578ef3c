"""The filters for both machines, run instruction by instruction and held against tables that are not ours."""

import errno
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from outlet._guest.seccomp import ALLOWED, REFUSED, program, rules
from outlet._guest.syscalls import NUMBERS
from tests.sdk.guest.bpf import Answer, run
from tests.support.real import without

PID = 4242
MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
LAST = 600
"""No machine has a call of a higher number, but for x32's."""
X32 = 0x40000000
I386, ARM = 0x40000003, 0x40000028

ALLOW, KILL = Answer("allow"), Answer("kill")
REFUSE, ABSENT = Answer("errno", errno.EPERM), Answer("errno", errno.ENOSYS)

# The headers of Debian's linux-libc-dev, and of its packages for other machines.
HEADERS = {
    "x86_64": ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm/unistd_64.h"),
    "aarch64": ("/usr/aarch64-linux-gnu/include/asm-generic/unistd.h", "/usr/include/asm-generic/unistd.h"),
}
# What the generic header calls by the name that 64-bit machines give it only further down.
GENERIC = {"fstatat": "newfstatat"}

on_every_machine = pytest.mark.parametrize("machine", MACHINES)


def header(machine: str) -> dict[str, int] | None:
    """Numbers by name, from the kernel's own header where this machine has it."""
    path = next((Path(path) for path in HEADERS[machine] if Path(path).exists()), None)
    if path is None:
        return None
    found = re.findall(r"^#define __NR(?:3264)?_(\w+)\s+(\d+)$", path.read_text(), flags=re.MULTILINE)
    return {GENERIC.get(name, name): int(number) for name, number in found if not name.startswith("arch_specific")}


def resolver(machine: str) -> dict[str, int] | None:
    """Numbers by name, of the names that the filter knows, from libseccomp where its program is installed."""
    command = shutil.which("scmp_sys_resolver")
    if command is None:
        return None
    asked = {
        name: subprocess.run([command, "-a", machine, name], capture_output=True, text=True, check=True).stdout
        for name in NUMBERS
    }
    return {name: int(answer) for name, answer in asked.items() if int(answer) >= 0}


def expected(name: str | None) -> Answer:
    """What the filter is to say to a call whose arguments are all 0."""
    if name in ALLOWED:
        return ALLOW
    if name in REFUSED:
        return REFUSE
    if name == "clone3":
        return ABSENT
    rule = next((rule for rule in rules(PID) if rule.name == name), None)
    if rule is None:
        return KILL
    return {
        **dict.fromkeys(("mmap", "mprotect", "madvise", "clock_gettime", "clock_getres", "rt_sigaction"), ALLOW),
        **dict.fromkeys(("fcntl", "ioctl", "kill", "tgkill"), REFUSE),
    }[rule.name]


@on_every_machine
@pytest.mark.parametrize("source", [header, resolver])
def test_the_numbers_are_the_kernels(source: Callable[[str], dict[str, int] | None], machine: str) -> None:
    numbers = source(machine)
    if numbers is None and source is resolver:
        pytest.skip("a second opinion, where Debian's package seccomp is installed")
    if numbers is None:
        without(f"no header of {machine}'s system calls: install linux-libc-dev", os.environ)
    column = list(MACHINES).index(machine)
    assert {name: numbers.get(name) for name in NUMBERS} == {name: both[column] for name, both in NUMBERS.items()}


@on_every_machine
def test_every_call_of_the_machine_gets_the_answer_of_its_name(machine: str) -> None:
    numbers = header(machine)
    if numbers is None:
        without(f"no header of {machine}'s system calls: install linux-libc-dev", os.environ)
    names = {number: name for name, number in numbers.items()}
    code = program(machine, PID)
    wrong = {
        (number, names.get(number)): answer
        for number in range(LAST)
        if (answer := run(code, number, MACHINES[machine])) != expected(names.get(number))
    }
    assert wrong == {}


@on_every_machine
def test_a_call_for_another_architecture_ends_the_process(machine: str) -> None:
    code = program(machine, PID)
    others = {I386, ARM, *MACHINES.values()} - {MACHINES[machine]}
    for architecture in others:
        assert {run(code, number, architecture) for number in range(LAST)} == {KILL}


@on_every_machine
def test_numbers_of_x32_and_beyond_end_the_process(machine: str) -> None:
    code = program(machine, PID)
    for number in (*range(X32, X32 + LAST), -1, -(2**31), 2**31 - 1):
        assert run(code, number, MACHINES[machine]) == KILL


@on_every_machine
@pytest.mark.parametrize(
    ("name", "arguments", "answer"),
    [
        ("mmap", (0, 4096, 3), ALLOW),
        ("mmap", (0, 4096, 7), REFUSE),
        ("mmap", (0, 4096, 4), REFUSE),
        ("mprotect", (0, 4096, 1), ALLOW),
        ("mprotect", (0, 4096, 5), REFUSE),
        ("madvise", (0, 4096, 4), ALLOW),
        ("madvise", (0, 4096, 12), REFUSE),
        ("clock_gettime", (1,), ALLOW),
        ("clock_gettime", (12,), REFUSE),
        ("clock_gettime", (-6 % 2**32,), REFUSE),
        ("rt_sigaction", (signal.SIGTERM,), ALLOW),
        ("rt_sigaction", (signal.SIGXCPU,), REFUSE),
        ("rt_sigaction", (signal.SIGPROF,), REFUSE),
        ("fcntl", (3, 4), ALLOW),
        ("fcntl", (3, 0), REFUSE),
        ("fcntl", (3, 8), REFUSE),
        ("fcntl", (3, 1030), REFUSE),
        ("ioctl", (3, 0x5421), ALLOW),
        ("ioctl", (3, 0x5412), REFUSE),
        ("kill", (PID, 9), ALLOW),
        ("kill", (PID + 1, 9), REFUSE),
        ("kill", (-1, 9), REFUSE),
        ("tgkill", (PID, PID, 9), ALLOW),
        ("tgkill", (1, 1, 9), REFUSE),
        # The kernel reads 32 bits of these, and so does the filter: what is above them changes nothing.
        ("mmap", (0, 4096, 7 | 1 << 40), REFUSE),
        ("kill", (1 << 40 | PID, 9), ALLOW),
    ],
)
def test_arguments_decide_where_they_must(machine: str, name: str, arguments: tuple[int, ...], answer: Answer) -> None:
    number = NUMBERS[name][list(MACHINES).index(machine)]
    assert number is not None
    assert run(program(machine, PID), number, MACHINES[machine], *arguments) == answer


def test_no_name_has_two_answers() -> None:
    names = [*ALLOWED, *REFUSED, "clone3", *(rule.name for rule in rules(PID))]
    assert len(set(names)) == len(names)
    assert set(names) == set(NUMBERS)


def test_there_is_no_filter_for_other_machines() -> None:
    with pytest.raises(OSError, match="riscv64"):
        program("riscv64", PID)
