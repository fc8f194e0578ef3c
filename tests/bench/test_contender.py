"""A measurement counts only when every event was handled, each once."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from os import environ
from pathlib import Path

import pytest

from bench.broker import Broker, open_broker
from bench.contender import Contender, running
from bench.contenders.task import Task
from bench.feed import Feed
from bench.refusal import Refused
from bench.workload import NO_OP

EVENTS = 50
CARELESS = "tests.bench.careless"


@pytest.fixture(scope="module")
async def broker(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Broker]:
    async with open_broker(tmp_path_factory.mktemp("broker"), embedded=True) as opened:
        yield opened


@pytest.fixture
async def feed(broker: Broker) -> AsyncIterator[Feed]:
    opened = Feed(broker.bootstrap)
    yield opened
    opened.close()


@asynccontextmanager
async def contender(broker: Broker, log: Path, module: str, fault: str = "") -> AsyncIterator[Contender]:
    group = f"{module}.{fault}"
    await broker.begin_group(group)
    task = Task(
        bootstrap=broker.bootstrap, group=group, topic=NO_OP.topic, event=NO_OP.event, workload="no-op", dsn=fault
    )
    async with running(module, [(task, environ)], log) as members:
        opened = Contender(fault or module, members, NO_OP, patience=2)
        await opened.assigned(broker.partitions)
        yield opened


async def test_who_handles_every_event_is_measured(broker: Broker, feed: Feed, tmp_path: Path) -> None:
    documents = NO_OP.documents(2 * EVENTS)
    async with contender(broker, tmp_path / "log", "bench.contenders.raw_loop") as opened:
        burst = await opened.burst(feed, documents[:EVENTS])
        latency = await opened.paced(feed, documents[EVENTS:], rate=500)
    assert burst.rate > 0
    assert burst.processor_seconds >= 0
    assert 0 < latency.p50 <= latency.p99 < 2
    assert 0 < latency.rate <= 600


@pytest.mark.parametrize(
    ("fault", "told"), [("lose", "49 of 50"), ("double", "not the ones that were sent"), ("exchange", "not the ones")]
)
async def test_who_is_careless_with_one_event_is_refused(
    broker: Broker, feed: Feed, tmp_path: Path, fault: str, told: str
) -> None:
    async with contender(broker, tmp_path / "log", CARELESS, fault) as opened:
        with pytest.raises(Refused, match=told):
            await opened.burst(feed, NO_OP.documents(EVENTS))


async def test_a_process_that_ends_is_refused_with_its_last_words(broker: Broker, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="No module named"):
        async with contender(broker, tmp_path / "log", "tests.bench.nobody"):
            pass
