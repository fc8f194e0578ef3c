"""Which processes exist, and when they end."""

import asyncio
import json
import os
import signal
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from outlet.package import Package
from services.common.runtime_client import PluginFailed
from services.runtime.sandbox import PluginInterrupted, SandboxUnavailable, Zygote
from tests.runtime.sandbox.conftest import StartPlugin, StartPool
from tests.runtime.sandbox.plugins import Caller, Recorder

PLUGIN = """
import fcntl

def is_open(descriptor: int) -> bool:
    try:
        fcntl.fcntl(descriptor, fcntl.F_GETFD)
    except OSError:
        return False
    return True

@plugin.route("GET", "/pid")
async def pid() -> dict:
    return {"pid": os.getpid()}

@plugin.route("GET", "/self")
async def self_portrait() -> dict:
    descriptors = [number for number in range(64) if is_open(number)]
    return {
        "environment": dict(os.environ),
        "session": os.getpgrp() == os.getpid(),
        "path": sys.path,
        "descriptors": descriptors,
    }

@plugin.hook("sale.created")
async def busy(api: Api) -> None:
    await api.emit("busy", {})
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True: pass
"""


async def until(condition: Callable[[], bool]) -> None:
    """Wait for the end of something that cannot be awaited: a process of another's."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  there is nothing to wait on
            await asyncio.sleep(0.01)


def is_gone(pid: int) -> bool:
    """Whether a process has ended (proc(5): the state is what follows the name in brackets)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def modes(parent: Path) -> dict[str, int]:
    """The permissions of what a zygote makes in the folder for temporary files."""
    return {
        "socket" if path.name == "socket" else "folder": stat.S_IMODE(path.stat().st_mode) for path in parent.rglob("*")
    }


async def pid_of(caller: Caller) -> int:
    return int(json.loads((await caller.route("GET", "/pid")).body)["pid"])


async def test_a_guest_has_nothing_of_the_workers(start_plugin: StartPlugin) -> None:
    caller = start_plugin(PLUGIN)
    portrait = json.loads((await caller.route("GET", "/self")).body)
    # Standard streams, the connection, the loop's poll set and wake-up pair.
    assert portrait == {"environment": {}, "session": True, "path": [], "descriptors": list(range(7))}
    process = Path(f"/proc/{await pid_of(caller)}")
    status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines() if ":\t" in line)
    assert (status["NoNewPrivs"], int(status["CapEff"], 16), int(status["CapBnd"], 16)) == ("1", 0, 0)


async def test_one_process_serves_many_calls(start_plugin: StartPlugin) -> None:
    caller = start_plugin(PLUGIN)
    assert await pid_of(caller) == await pid_of(caller)


async def test_an_idle_guest_ends_and_a_used_one_stays(start_plugin: StartPlugin) -> None:
    caller = start_plugin(PLUGIN, idle_seconds=0.3)
    pid = await pid_of(caller)
    for _ in range(10):
        assert await pid_of(caller) == pid
        await asyncio.sleep(0.05)
    await until(lambda: is_gone(pid))
    assert len(caller.pool) == 0
    assert await pid_of(caller) != pid


async def test_closing_the_connection_kills_a_busy_guest(start_plugin: StartPlugin) -> None:
    caller = start_plugin(PLUGIN)
    pid = await pid_of(caller)
    with pytest.raises(PluginFailed) as raised:
        await caller.hook(deadline=0.2)
    assert raised.value.code == "plugin_timeout"
    await until(lambda: is_gone(pid))


async def test_a_guest_killed_from_outside_while_idle_is_replaced(start_plugin: StartPlugin) -> None:
    caller = start_plugin(PLUGIN)
    pid = await pid_of(caller)
    os.kill(pid, signal.SIGKILL)
    await until(lambda: len(caller.pool) == 0)
    assert await pid_of(caller) != pid


async def test_a_zygote_that_died_is_started_again_and_nobody_is_blamed(start_plugin: StartPlugin) -> None:
    async with Zygote() as zygote:
        caller = start_plugin(PLUGIN, zygote=zygote)
        guest = await pid_of(caller)
        api = Recorder()
        call = asyncio.create_task(caller.hook(api=api, deadline=30))
        await until(lambda: bool(api.calls))
        assert zygote.pid is not None
        os.kill(zygote.pid, signal.SIGKILL)
        with pytest.raises(PluginInterrupted):
            await call
        await until(lambda: is_gone(guest))
        assert await pid_of(caller) != guest
        await caller.pool.close()


async def test_a_zygotes_socket_is_its_users_alone_and_goes_with_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    async with Zygote() as zygote:
        assert modes(tmp_path) == {"folder": 0o700, "socket": 0o600}
        pid = zygote.pid
    assert modes(tmp_path) == {}
    assert pid is not None
    assert is_gone(pid)


async def test_a_zygote_elsewhere_is_used_by_its_socket(
    start_pool: StartPool, start_plugin: StartPlugin, zygote: Zygote, packages: dict[str, Package]
) -> None:
    local = start_plugin(PLUGIN)
    async with Zygote(zygote._socket) as foreign:
        assert foreign.pid is None
        caller = Caller(start_pool(zygote=foreign), packages[local.key.digest])
        assert await pid_of(caller) != await pid_of(local)
        os.kill(await pid_of(caller), signal.SIGKILL)
        await until(lambda: len(caller.pool) == 0)
        assert await pid_of(caller) > 0


async def test_without_a_zygote_there_is_a_bounded_wait_and_a_clear_error(
    start_pool: StartPool, start_plugin: StartPlugin, packages: dict[str, Package], tmp_path: Path
) -> None:
    digest = start_plugin("").key.digest
    absent = Zygote(tmp_path / "nowhere", start_deadline=0.2)
    with pytest.raises(SandboxUnavailable, match=r"0\.2 s"):
        await Caller(start_pool(zygote=absent), packages[digest]).lifecycle("onInstall")


WORKER = """
import asyncio, sys
from pathlib import Path
from services.runtime.sandbox import SandboxPool, Zygote
from outlet import package
from tests.runtime.sandbox.plugins import Caller

async def main():
    built = package.open_package(Path(sys.argv[1]).read_bytes())
    async def fetch(key): return built.data
    async def api(method, arguments): print("busy", flush=True)
    async with Zygote() as zygote:
        caller = Caller(SandboxPool(zygote, fetch), built)
        result = await caller.route("GET", "/pid")
        print(zygote.pid, result.body.decode(), flush=True)
        await caller.hook(api=api, deadline=600)

asyncio.run(main())
"""


async def test_a_worker_killed_at_work_leaves_no_process(
    start_plugin: StartPlugin, packages: dict[str, Package], tmp_path: Path
) -> None:
    file = tmp_path / "package.zip"
    file.write_bytes(packages[start_plugin(PLUGIN).key.digest].data)
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WORKER, str(file), stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[3]
    )
    assert worker.stdout is not None
    async with asyncio.timeout(20):
        zygote, _, answer = (await worker.stdout.readline()).decode().partition(" ")
        assert await worker.stdout.readline() == b"busy\n"
    guest = json.loads(answer)["pid"]
    worker.kill()
    await worker.wait()
    await until(lambda: is_gone(int(zygote)) and is_gone(guest))
