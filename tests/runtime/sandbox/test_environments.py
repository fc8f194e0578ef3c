"""A whole worker's sandbox in each place that it is meant for: it has its walls there, and runs a plugin."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from asyncio.subprocess import PIPE
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from outlet.package import Package
from tests.runtime.sandbox import plugins
from tests.runtime.sandbox.environments import (
    NOBODY,
    as_root,
    other_user,
    outer_profile,
    with_all_walls,
    zygote_elsewhere,
)

ROOT = Path(__file__).parents[3]
THIRD, SHARED_GROUP = 54322, 54321

PLUGIN = """
@plugin.route("GET", "/who")
async def who() -> dict:
    try:
        files = os.listdir("/")
    except PermissionError:
        files = None
    return {"uid": os.getuid(), "pid": os.getpid(), "files": files}
"""

# Arguments: the package, the folder to import from, and the socket of a zygote that runs already, or nothing.
WORKER = """
import asyncio, json, os, sys
from pathlib import Path
sys.path[:0] = [sys.argv[2], sys.argv[2] + "/sdk"]
from outlet import package
from services.runtime.sandbox import SandboxPool, Zygote, hide_from_other_processes, require_tier
from tests.runtime.sandbox.plugins import Caller

async def main():
    hide_from_other_processes()
    built = package.open_package(Path(sys.argv[1]).read_bytes())
    async def fetch(key): return built.data
    async with Zygote(Path(sys.argv[3]) if sys.argv[3:] else None, start_deadline=60) as zygote:
        tier = await require_tier(zygote, "B")
        pool = SandboxPool(zygote, fetch, minimum="B")
        who = json.loads((await Caller(pool, built).route("GET", "/who")).body)
        await pool.close()
    print(json.dumps({"tier": tier, "worker": os.getuid(), **who}))

asyncio.run(main())
"""

MAY_UNSHARE = (
    os.geteuid() == 0
    and shutil.which("unshare") is not None
    and subprocess.run(["unshare", "--pid", "--fork", "--net", "--ipc", "true"], capture_output=True).returncode == 0
)


@pytest.fixture
def package(tmp_path: Path) -> Package:
    folder = tmp_path / "source"
    folder.mkdir()
    return plugins.build(folder, PLUGIN)


async def run_worker(folder: Path, package: Package, before: Sequence[str], *socket: str) -> dict[str, Any]:
    """Start a worker's sandbox by the command ``before``, have it run the plugin, and return what came of it."""
    archive, script = folder / "package.zip", folder / "worker.py"
    archive.write_bytes(package.data)
    script.write_text(WORKER)
    profiled = any(part.endswith("container_profile.py") for part in before)
    python = [] if profiled else [sys.executable]
    process = await asyncio.create_subprocess_exec(
        *(*before, *python, "-I", str(script), str(archive), str(ROOT), *socket),
        stdout=PIPE,
        env={"TMPDIR": str(folder)},
    )
    async with asyncio.timeout(90):
        said, _ = await process.communicate()
    assert process.returncode == 0
    found: dict[str, Any] = json.loads(said)
    return found


@pytest.mark.parametrize("profile", [None, "default", "no-landlock"])
async def test_as_whoever_runs_the_tests(profile: str | None, tmp_path: Path, package: Package) -> None:
    before = [] if profile is None else outer_profile(profile)
    found = await run_worker(tmp_path, package, before)
    assert found["tier"] <= "B"
    assert (found["worker"], found["uid"], found["files"]) == (os.getuid(), os.getuid(), None)


@as_root
@pytest.mark.parametrize("profile", [None, "default", "no-landlock"])
async def test_as_an_unprivileged_user(profile: str | None, tmp_path: Path, package: Package) -> None:
    os.chown(tmp_path, NOBODY, NOBODY)
    before = other_user() + ([] if profile is None else outer_profile(profile))
    found = await run_worker(tmp_path, package, before)
    assert found["tier"] <= "B"
    assert (found["worker"], found["uid"], found["files"]) == (NOBODY, NOBODY, None)


@as_root
@pytest.mark.skipif(not MAY_UNSHARE, reason="may not make namespaces")
async def test_with_a_sidecars_zygote_in_namespaces_of_its_own(tmp_path: Path, package: Package) -> None:
    """Worker and zygote are of two users, share a group and the socket's folder, and see nothing else of each other."""
    shared = tmp_path / "shared"
    shared.mkdir()
    os.chown(shared, NOBODY, SHARED_GROUP)
    shared.chmod(0o750)
    apart = ["unshare", "--pid", "--fork", "--net", "--ipc", "--uts"]
    sidecar = [*apart, *other_user(SHARED_GROUP), *outer_profile("default")]
    working = [part.replace(str(NOBODY), str(THIRD)) for part in other_user(SHARED_GROUP)]
    own = tmp_path / "own"
    own.mkdir()
    os.chown(own, THIRD, THIRD)
    async with zygote_elsewhere(shared, sidecar, "--group", str(SHARED_GROUP)) as socket:
        found = await run_worker(own, package, [*working, *outer_profile("default")], str(socket))
    assert found["tier"] <= "B"
    assert (found["worker"], found["uid"], found["files"]) == (THIRD, NOBODY, None)
    assert found["pid"] < 50, "the guest's number is that of a namespace with the zygote alone"


@with_all_walls
async def test_the_containers_profile_refuses_what_such_profiles_do(tmp_path: Path) -> None:
    """It is no wall of ours that is tried below it: without this, the tests above would prove nothing."""
    tries = """
import ctypes, errno, json, os
libc = ctypes.CDLL(None, use_errno=True)
def error(*call):
    return 0 if libc.syscall(*map(ctypes.c_long, call)) >= 0 else ctypes.get_errno()
x86 = os.uname().machine == "x86_64"
print(json.dumps({
    "user namespace": error(272 if x86 else 97, 0x10000000),
    "namespace by clone": error(56 if x86 else 220, 0x10000000 | 17, 0, 0, 0, 0),
    "clone3": error(435, 0, 0),
    "ptrace": error(101 if x86 else 117, 0, 0, 0, 0),
    "io_uring": error(425, 1, 0),
    "vsock": error(41 if x86 else 198, 40, 1, 0),
    "too new": error(1000),
    "pidfd_open": error(434, os.getpid(), 0),
    "landlock version": error(444, 0, 0, 1),
}))
"""
    process = await asyncio.create_subprocess_exec(*outer_profile("default"), "-c", tries, stdout=PIPE)
    said, _ = await process.communicate()
    assert json.loads(said) == {
        **dict.fromkeys(("user namespace", "namespace by clone", "ptrace", "io_uring", "vsock"), 1),
        **dict.fromkeys(("clone3", "too new"), 38),
        **dict.fromkeys(("pidfd_open", "landlock version"), 0),
    }
