"""The supervisor, with small stand-ins for the services and the real embedded parts."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from outlet.local.errors import PlatformError, ProcessFailed
from outlet.local.keeper import Report
from outlet.local.secret_keys import secret_keys
from outlet.local.stack import Stack
from services.common.secret_settings import SecretKeys
from tests.sdk.local.stand_ins import write_package


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An environment in which the stand-ins can be imported, free of the caller's own settings."""
    write_package(tmp_path / "code")
    monkeypatch.syspath_prepend(tmp_path / "code")
    own = {name: value for name, value in os.environ.items() if not name.startswith("OUTLET_")}
    return own | {"PYTHONPATH": str(tmp_path / "code")}


def stack(folder: Path, environ: dict[str, str], **options: Any) -> Stack:
    return Stack(folder / ".outlet", environ=environ, durable=False, package="stand_ins_package", **options)


async def environment_told(url: str) -> dict[str, str]:
    async with httpx.AsyncClient(verify=False) as client:  # noqa: S501 - plain HTTP; saves reading certificates
        answer: dict[str, str] = (await client.get(url)).json()
        return answer


def descendants() -> list[psutil.Process]:
    return list(psutil.Process().children(recursive=True))


async def test_platform_starts_in_order_and_leaves_nothing_behind(tmp_path: Path, environ: dict[str, str]) -> None:
    reports: list[Report] = []
    before = set(descendants())
    async with stack(tmp_path, environ, report=reports.append) as platform:
        assert all(pids == [pid] and pid for pids in platform.pids.values() for pid in pids)
        started = set(descendants()) - before
        assert len(started) >= 6
        begun = time.monotonic()
    assert time.monotonic() - begun < 5
    assert not [process for process in started if process.is_running()]
    ready = [report.part for report in reports if report.state == "ready"]
    assert set(ready[:3]) == {"postgres", "valkey", "broker"}
    assert ready[3] == "registry"
    assert set(ready[4:7]) == {"runtime", "insights", "ui_components"}
    assert ready[7] == "gateway"
    stopped = [report.part for report in reports if report.state == "stopped"]
    assert stopped[0] == "gateway"
    assert set(stopped[-3:]) == {"postgres", "valkey", "broker"}


async def test_each_service_is_told_what_it_needs_and_only_its_own_database(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    async with stack(tmp_path, environ | {"OUTLET_HOOK_DEADLINE": "2"}) as platform:
        told = await environment_told(platform.registry_url)
        assert told["OUTLET_REGISTRY_DATABASE_URL"] == platform.database_urls["registry"]
        assert "OUTLET_RUNTIME_DATABASE_URL" not in told
        assert told["OUTLET_KAFKA_CREATE_TOPICS"] == "false"
        assert told["OUTLET_JWKS"] == str(platform.issuer.jwks_path)
        assert told["OUTLET_HOOK_DEADLINE"] == "2"
        at_the_door = await environment_told(platform.gateway_url)
        assert "OUTLET_REGISTRY_DATABASE_URL" not in at_the_door
        assert "OUTLET_SECRET_KEYS" not in at_the_door
        assert told["OUTLET_SECRET_KEYS"] == (platform.directory / "secret-key").read_text()


def test_the_key_of_secrets_is_made_once_and_kept_to_its_owner(tmp_path: Path) -> None:
    made = secret_keys(tmp_path, {})
    assert secret_keys(tmp_path, {}) == made
    assert (tmp_path / "secret-key").stat().st_mode & 0o077 == 0
    assert SecretKeys.parse(made)
    assert secret_keys(tmp_path, {"OUTLET_SECRET_KEYS": "ones-own"}) == "ones-own"


async def test_real_parts_of_the_environment_replace_the_embedded_ones(tmp_path: Path, environ: dict[str, str]) -> None:
    real = {
        "OUTLET_KAFKA_BOOTSTRAP": "kafka.example:9092",
        "OUTLET_REDIS_URL": "redis://redis.example/0",
        "OUTLET_REGISTRY_DATABASE_URL": "postgresql://one@db.example/registry",
        "OUTLET_RUNTIME_DATABASE_URL": "postgresql://two@db.example/runtime",
    }
    async with stack(tmp_path, environ | real, workers=2) as platform:
        assert len(platform.pids["runtime"]) == 2
        told = await environment_told(platform.registry_url)
        assert told["OUTLET_KAFKA_BOOTSTRAP"] == "kafka.example:9092"
        assert told["OUTLET_KAFKA_CREATE_TOPICS"] == "true"
        assert told["OUTLET_REGISTRY_DATABASE_URL"] == "postgresql://one@db.example/registry"
    assert not (tmp_path / ".outlet" / "postgres").exists()


async def test_killed_service_is_started_again(tmp_path: Path, environ: dict[str, str]) -> None:
    reports: list[Report] = []
    async with stack(tmp_path, environ, report=reports.append) as platform:
        killed = platform.kill("registry")
        await asyncio.wait_for(platform.ready("registry"), 10)
        assert platform.pids["registry"][0] not in (None, killed)
        assert await environment_told(platform.registry_url)
    assert Report("registry", "died", detail="status -9") in reports


async def test_killed_database_is_started_again_with_its_data_and_address(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    again = asyncio.Event()
    starts: list[str] = []

    def note(report: Report) -> None:
        if report.part == "postgres" and report.state == "ready":
            starts.append(report.part)
            if len(starts) == 2:
                again.set()

    async with stack(tmp_path, environ, report=note) as platform:
        url = platform.database_urls["registry"]
        data = str(tmp_path)  # other servers of this test run are descendants too
        postmaster = next(one for one in descendants() if one.name() == "postgres" and data in " ".join(one.cmdline()))
        postmaster.kill()
        await asyncio.wait_for(again.wait(), 20)
        assert platform.database_urls["registry"] == url


async def test_service_can_be_held_down_and_brought_back(tmp_path: Path, environ: dict[str, str]) -> None:
    async with stack(tmp_path, environ) as platform:
        await platform.stop_service("runtime")
        assert platform.pids["runtime"] == [None]
        await platform.start_service("runtime")
        assert platform.pids["runtime"] != [None]


async def test_service_that_ends_while_starting_fails_the_start_with_its_log(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    before = set(descendants())
    with pytest.raises(ProcessFailed, match=r"registry ended with status 3[\s\S]*told to fail"):
        await stack(tmp_path, environ | {"STAND_IN_FAILS": "registry"}).start()
    assert set(descendants()) == before


async def test_service_that_ignores_sigterm_is_ended_in_time(tmp_path: Path, environ: dict[str, str]) -> None:
    platform = stack(tmp_path, environ | {"STAND_IN_IGNORES_SIGTERM": "registry"})
    await platform.start()
    begun = time.monotonic()
    await platform.stop()
    assert time.monotonic() - begun < 5


async def test_second_platform_on_a_directory_is_refused_with_the_pid_of_the_first(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    async with stack(tmp_path, environ):
        with pytest.raises(PlatformError, match=rf"in use by another platform \(pid {os.getpid()}\)"):
            await stack(tmp_path, environ).start()
    async with stack(tmp_path, environ):
        pass


async def test_taken_port_is_named(tmp_path: Path, environ: dict[str, str]) -> None:
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        with pytest.raises(PlatformError, match=f"port {port}, for the gateway service, is taken"):
            await stack(tmp_path, environ, port=port).start()


async def test_second_worker_on_the_embedded_broker_is_refused(tmp_path: Path, environ: dict[str, str]) -> None:
    with pytest.raises(PlatformError, match="one runtime worker"):
        await stack(tmp_path, environ, workers=2).start()


async def test_missing_services_are_named(tmp_path: Path, environ: dict[str, str]) -> None:
    platform = Stack(tmp_path / ".outlet", environ=environ, package="services_that_nobody_wrote")
    with pytest.raises(PlatformError, match="services_that_nobody_wrote"):
        await platform.start()


SUPERVISOR = """
import asyncio, sys
from pathlib import Path
from outlet.local.stack import Stack

async def main():
    async with Stack(Path(sys.argv[1]), durable=False, package="stand_ins_package"):
        print("ready", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="dying with the parent is a feature of Linux")
def test_nothing_outlives_a_supervisor_that_was_killed(tmp_path: Path, environ: dict[str, str]) -> None:
    command = [sys.executable, "-c", SUPERVISOR, str(tmp_path / ".outlet")]
    for _ in range(2):  # the second start meets what the first one left on disk
        with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as supervisor:
            assert supervisor.stdout
            assert supervisor.stdout.readline() == "ready\n"
            children = psutil.Process(supervisor.pid).children(recursive=True)
            assert len(children) >= 6
            supervisor.send_signal(signal.SIGKILL)
        _, alive = psutil.wait_procs(children, timeout=5)
        assert not alive
