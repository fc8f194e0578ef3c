"""Waits end when the condition holds, and never go on for ever."""

import asyncio

import pytest
from aiokafka import AIOKafkaConsumer

from outlet.local.waiting import NotInTime, until, until_consumed
from outlet.samples import retailer, sales
from outlet.samples.records import publish, record


async def test_a_wait_ends_when_the_condition_holds() -> None:
    answers = iter([False, False, True])

    async def condition() -> bool:
        return next(answers)

    await until(condition, within=5, what="the third answer")


async def test_a_wait_that_takes_too_long_says_what_for() -> None:
    async def never() -> bool:
        return False

    with pytest.raises(NotInTime, match=r"the moon is full: not within 0\.1 s"):
        await until(never, within=0.1, what="the moon is full")


async def test_records_count_as_consumed_once_the_group_committed_past_all_of_them(fresh_kafka_bootstrap: str) -> None:
    records = [record("sale", sale, organization="acme") for sale in sales(retailer(), 40)]
    positions = await publish(fresh_kafka_bootstrap, records)
    with pytest.raises(NotInTime):
        await until_consumed(fresh_kafka_bootstrap, "tills", positions, within=0.3)

    waiting = asyncio.create_task(until_consumed(fresh_kafka_bootstrap, "tills", positions, within=20))
    async with AIOKafkaConsumer(
        "outlet.events.sale",
        bootstrap_servers=fresh_kafka_bootstrap,
        group_id="tills",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    ) as consumer:
        seen = 0
        while seen < len(records):
            seen += sum(map(len, (await consumer.getmany(timeout_ms=500)).values()))
        assert not waiting.done()
        await consumer.commit()
        await waiting
