"""Real PostgreSQL and Redis, and what holds for every part: it keeps its data and leaves nothing behind."""

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import asyncpg
import psutil
import pytest
import redis.asyncio

from deploy.local import Postgres, Redis
from deploy.local.ports import accepts
from outlet.local.errors import PlatformError

pytestmark = pytest.mark.real

ROOT = Path(__file__).parents[2]


def family(process: int | None) -> list[psutil.Process]:
    """A process and all it has started."""
    parent = psutil.Process(process)
    return [parent, *parent.children(recursive=True)]


def wait_until_gone(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=10)
    # A process that ended is gone, also while nobody has asked for its exit code.
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []


async def test_postgres_keeps_committed_rows_over_a_crash(local_postgres: Postgres) -> None:
    dsn = await local_postgres.create_database("shop")
    connection = await asyncpg.connect(dsn)
    await connection.execute("CREATE TABLE sale (id int); INSERT INTO sale VALUES (1)")
    await local_postgres.kill()
    await connection.close()

    await local_postgres.start()
    connection = await asyncpg.connect(dsn)
    assert await connection.fetchval("SELECT count(*) FROM sale") == 1
    await connection.close()


async def test_postgres_gives_outlet_a_role_that_is_no_superuser(local_postgres: Postgres) -> None:
    connection = await asyncpg.connect(await local_postgres.create_database("shop"))
    role = await connection.fetchrow("SELECT rolsuper, rolcreatedb FROM pg_roles WHERE rolname = current_user")
    assert role is not None
    assert (role["rolsuper"], role["rolcreatedb"]) == (False, True)
    assert await connection.fetchval("SHOW fsync") == "off"
    await connection.close()


async def test_postgres_never_runs_as_root(local_postgres: Postgres) -> None:
    assert psutil.Process(local_postgres.pid).uids().effective != 0


async def test_redis_keeps_its_keys_over_a_crash(local_redis: Redis) -> None:
    async with redis.asyncio.Redis.from_url(local_redis.url) as client:
        await client.set("till", "7")
    await local_redis.kill()
    await local_redis.start()
    async with redis.asyncio.Redis.from_url(local_redis.url) as client:
        assert await client.get("till") == b"7"


async def test_stopping_leaves_no_process_and_no_port(local_postgres: Postgres, local_redis: Redis) -> None:
    for part in (local_postgres, local_redis):
        processes = family(part.pid)
        await part.stop()
        wait_until_gone(processes)
        assert not await accepts(part.port)
        await part.stop()  # once more does nothing


async def test_a_paused_part_can_be_stopped(local_redis: Redis) -> None:
    local_redis.pause()
    await asyncio.wait_for(local_redis.stop(), 5)
    assert local_redis.pid is None


async def test_a_part_that_is_not_running_cannot_be_paused(local_redis: Redis) -> None:
    await local_redis.stop()
    with pytest.raises(PlatformError, match="redis is not running"):
        local_redis.pause()


async def test_a_part_that_cannot_start_says_what_it_printed(programs: None, tmp_path: Path) -> None:
    part = Redis(tmp_path)
    with socket.create_server(("127.0.0.1", part.port)), pytest.raises(PlatformError, match="Address already in use"):
        await part.start()
    assert part.pid is None


async def test_parts_end_with_a_killed_parent(programs: None, tmp_path: Path) -> None:
    script = (
        "import asyncio, pathlib, sys\n"
        "from deploy.local import Postgres, Redis\n"
        "async def main(folder):\n"
        "    async with Postgres(folder / 'postgres') as postgres, Redis(folder / 'redis') as redis:\n"
        "        print(postgres.pid, redis.pid, flush=True)\n"
        "        await asyncio.Event().wait()\n"
        "asyncio.run(main(pathlib.Path(sys.argv[1])))\n"
    )
    pipe = asyncio.subprocess.PIPE
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", script, str(tmp_path), stdout=pipe, cwd=ROOT)
    assert parent.stdout is not None
    line = await asyncio.wait_for(parent.stdout.readline(), 30)
    processes = [process for number in line.split() for process in family(int(number))]
    parent.kill()
    await parent.wait()
    await asyncio.to_thread(wait_until_gone, processes)


async def test_up_prints_the_variables_and_stops_at_ctrl_c(programs: None, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "deploy.local", "up", "--directory", str(tmp_path)]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, cwd=ROOT)
    assert process.stdout is not None
    printed: dict[str, str] = {}
    while b"Ctrl-C" not in (line := await asyncio.wait_for(process.stdout.readline(), 60)):
        if line.startswith(b"export "):
            name, _, value = line.decode().removeprefix("export ").strip().partition("=")
            printed[name] = value
    processes = family(process.pid)
    assert {process.name() for process in processes} >= {"java", "postgres", "redis-server"}
    for name in ("OUTLET_REGISTRY_DATABASE_URL", "OUTLET_RUNTIME_DATABASE_URL"):
        connection = await asyncpg.connect(printed[name])
        await connection.close()
    assert {"OUTLET_KAFKA_BOOTSTRAP", "OUTLET_REDIS_URL"} <= printed.keys()

    os.kill(process.pid, signal.SIGINT)
    assert await asyncio.wait_for(process.wait(), 20) == 0
    await asyncio.to_thread(wait_until_gone, processes)
