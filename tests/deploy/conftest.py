"""Parts of `deploy.local` for the tests about them."""

import os
from collections.abc import AsyncIterator

import pytest

from deploy.local import Kafka, Postgres, Redis
from tests.support.programs import missing_program
from tests.support.real import without
from tests.support.selection import RealPart


@pytest.fixture(scope="session")
def programs() -> None:
    """Ends the test where the machine lacks a program."""
    for part in RealPart:
        if lacking := missing_program(part):
            without(lacking, os.environ)


@pytest.fixture(scope="session")
async def local_kafka(programs: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Kafka]:
    """A running broker. A test that stops it starts it again."""
    async with Kafka(tmp_path_factory.mktemp("kafka")) as kafka:
        yield kafka


@pytest.fixture
async def local_postgres(programs: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Postgres]:
    """A running PostgreSQL server of its own."""
    async with Postgres(tmp_path_factory.mktemp("postgres"), {"fsync": "off"}) as postgres:
        yield postgres


@pytest.fixture
async def local_redis(programs: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Redis]:
    """A running Redis server of its own."""
    async with Redis(tmp_path_factory.mktemp("redis")) as redis:
        yield redis
