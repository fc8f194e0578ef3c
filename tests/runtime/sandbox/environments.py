"""Where workers and zygotes run: as other users, below a container's profile, in namespaces of their own."""

import asyncio
import contextlib
import os
import shutil
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import psutil
import pytest

import outlet
from outlet._guest.landlock import SCOPING, version
from services.runtime.sandbox.launcher import SCRIPT

NOBODY = 65534
FOLDERS = tuple(dict.fromkeys(str(Path(module.__file__ or "").parents[1]) for module in (outlet, msgspec)))
PROFILE = Path(__file__).with_name("container_profile.py")

as_root = pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="changes to another user")
with_all_walls = pytest.mark.skipif(version() < SCOPING, reason="this kernel's Landlock is older")


def other_user(*groups: int) -> list[str]:
    """The start of a command that runs as nobody, who may read the interpreter wherever it is installed."""
    members = f"--groups={','.join(map(str, groups))}" if groups else "--clear-groups"
    reading = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", members, *reading]


def outer_profile(name: str) -> list[str]:
    """The start of a command that runs Python below a container engine's filter."""
    return [sys.executable, "-I", str(PROFILE), name, ":".join(FOLDERS)]


@asynccontextmanager
async def zygote_elsewhere(folder: Path, before: Sequence[str], *options: str) -> AsyncIterator[Path]:
    """A zygote that is no child of a worker, started by the command ``before``; gives its socket."""
    socket = folder / "socket"
    python = [] if str(PROFILE) in before else [sys.executable]
    script = ["-I", "-S", str(SCRIPT), "--socket", str(socket), *options, "--path", *FOLDERS]
    process = await asyncio.create_subprocess_exec(*before, *python, *script, stdout=PIPE, env={})
    assert process.stdout is not None
    try:
        async with asyncio.timeout(20):
            assert await process.stdout.readline() == b"ready\n"
        yield socket
    finally:
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            # The zygote itself, where what started it waits for it; its guests end with it.
            for started in [*psutil.Process(process.pid).children(), psutil.Process(process.pid)]:
                started.kill()
        await process.wait()
