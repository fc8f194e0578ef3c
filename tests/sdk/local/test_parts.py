"""The three embedded parts, each started for real."""

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import psutil
import pytest
import redis.asyncio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from outlet.local.broker import Broker
from outlet.local.network import exchange
from outlet.local.postgres import Postgres
from outlet.local.valkey import Valkey


@pytest.fixture
async def postgres(tmp_path: Path) -> AsyncIterator[Postgres]:
    part = Postgres(tmp_path / "postgres", durable=False)
    await part.start()
    yield part
    await part.stop()


async def remember(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute("CREATE TABLE remembered AS SELECT 42 AS answer")
    await connection.close()


async def recall(dsn: str) -> int:
    connection = await asyncpg.connect(dsn)
    answer: int = await connection.fetchval("SELECT answer FROM remembered")
    await connection.close()
    return answer


async def test_postgres_keeps_data_across_restarts(postgres: Postgres) -> None:
    await postgres.create_database("shop")
    await remember(postgres.dsn("shop"))
    await postgres.stop()
    assert not postgres.running
    await postgres.start()
    await postgres.create_database("shop")  # there already: kept
    assert await recall(postgres.dsn("shop")) == 42


async def test_postgres_starts_after_it_was_killed(postgres: Postgres) -> None:
    await postgres.create_database("shop")
    await remember(postgres.dsn("shop"))
    assert postgres.process.pid
    os.kill(postgres.process.pid, signal.SIGKILL)  # the postmaster only: its pid file, and helpers for a moment, stay
    await postgres.process.wait()
    await postgres.start()
    assert await recall(postgres.dsn("shop")) == 42


async def test_postgres_starts_when_its_remembered_pid_belongs_to_another_process(postgres: Postgres) -> None:
    await postgres.stop()
    pidfile = postgres.directory / "data" / "postmaster.pid"
    pidfile.write_text(f"{os.getpid()}\n{postgres.directory / 'data'}\n")
    await postgres.start()
    assert postgres.running


async def test_postgres_ends_a_server_that_an_earlier_run_left(tmp_path: Path, postgres: Postgres) -> None:
    left = postgres.process.pid
    successor = Postgres(tmp_path / "postgres", durable=False)
    await successor.start()
    try:
        assert left is not None
        assert not psutil.pid_exists(left)
        await successor.create_database("shop")
    finally:
        await successor.stop()


async def test_postgres_refuses_a_wrong_password_and_the_superuser(postgres: Postgres) -> None:
    await postgres.create_database("shop")
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(postgres.dsn("shop"), password="guessed")
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
        await asyncpg.connect(postgres.dsn("shop"), user="postgres")


async def test_postgres_role_of_the_services_is_no_superuser(postgres: Postgres) -> None:
    connection = await asyncpg.connect(postgres.dsn("postgres"))
    assert await connection.fetchval("SELECT NOT rolsuper AND NOT rolbypassrls FROM pg_roles WHERE rolname = 'outlet'")
    await connection.close()


async def test_dropped_database_is_gone_although_someone_is_connected(postgres: Postgres) -> None:
    await postgres.create_database("shop")
    connected = await asyncpg.connect(postgres.dsn("shop"))
    await postgres.drop_database("shop")
    connected.terminate()
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await asyncpg.connect(postgres.dsn("shop"))


async def test_interrupted_first_start_is_repeated_from_the_beginning(tmp_path: Path) -> None:
    staging = tmp_path / "postgres" / "data.new"
    staging.mkdir(parents=True)
    (staging / "PG_VERSION").write_text("18")
    part = Postgres(tmp_path / "postgres", durable=False)
    await part.start()
    await part.stop()
    assert not staging.exists()


async def test_valkey_answers_only_with_its_password(tmp_path: Path) -> None:
    part = Valkey(tmp_path / "valkey")
    await part.start()
    try:
        client = redis.asyncio.Redis.from_url(part.url)
        assert await client.set("till", "open")
        await client.aclose()
        assert (await exchange(part.port, b"PING\r\n")).startswith(b"-NOAUTH")
    finally:
        await part.stop()
    assert not part.running


async def test_broker_carries_a_record_from_producer_to_consumer() -> None:
    broker = Broker()
    await broker.start()
    try:
        producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap, acks="all")
        await producer.start()
        await producer.send_and_wait("outlet.events.sale", b"{}", key=b"acme/s1/1", headers=[("ce_id", b"1")])
        await producer.stop()
        consumer = AIOKafkaConsumer(
            "outlet.events.sale", bootstrap_servers=broker.bootstrap, auto_offset_reset="earliest", group_id="till"
        )
        await consumer.start()
        record = await consumer.getone()
        await consumer.stop()
        assert (record.key, record.headers) == (b"acme/s1/1", (("ce_id", b"1"),))
    finally:
        await broker.stop()
    assert not broker.running
