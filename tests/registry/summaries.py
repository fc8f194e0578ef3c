"""Execution summaries as a worker sends them, and waiting until they are counted."""

import asyncio
from typing import Any

from aiokafka import AIOKafkaProducer

from services.common.reports import ExecutionError, ExecutionSummary
from services.common.topics import EXECUTIONS
from tests.registry.platform import Client

MOMENT = "2026-02-01T10:00:00+00:00"


def summary(installation_id: str, sequence: int, **members: Any) -> ExecutionSummary:
    known: dict[str, Any] = {
        "installation_id": installation_id,
        "organization_id": "any",
        "worker_id": "w1",
        "sequence": sequence,
        "last_used": MOMENT,
    }
    return ExecutionSummary(**known | members)


def error(number: int) -> ExecutionError:
    return ExecutionError(
        at=MOMENT, code="plugin_raised", message=f"error {number}\0", stack="Traceback", during="sale.created"
    )


async def produce(bootstrap: str, *values: bytes) -> None:
    """Put values on the topic of summaries, whatever they are."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
    await producer.start()
    try:
        for value in values:
            await producer.send_and_wait(EXECUTIONS.name, value, partition=0)
    finally:
        await producer.stop()


async def counted(caller: Client, installation_id: str, hook_runs: int) -> dict[str, Any]:
    """The statistics once so many runs are counted."""
    async with asyncio.timeout(30):
        while True:
            stats: dict[str, Any] = (await caller.get(f"/{installation_id}/stats")).json()
            if stats["hookRuns"] >= hook_runs:
                return stats
            await asyncio.sleep(0.05)
