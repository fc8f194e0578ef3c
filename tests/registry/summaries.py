"""Execution summaries as a worker sends them, and waiting until they are counted."""

import asyncio
from typing import Any

from aiokafka import AIOKafkaProducer

from services.common.latency import bucket_of
from services.common.reports import ExecutionError, ExecutionSummary, HookSummary
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


def hook(
    runs: int, errors: int = 0, *, name: str = "sale.created", store: str = "s1", seconds: float = 0.002
) -> HookSummary:
    return HookSummary(hook=name, store=store, runs=runs, errors=errors, latency={bucket_of(seconds): runs})


def error(number: int) -> ExecutionError:
    return ExecutionError(
        at=MOMENT, code="plugin_raised", message=f"error {number}\0", stack="Traceback", during="sale.created"
    )


async def produce(bootstrap: str, *values: bytes, topic: str = EXECUTIONS.name) -> None:
    """Put values on a topic, that of summaries unless told otherwise, whatever they are."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
    await producer.start()
    try:
        for value in values:
            await producer.send_and_wait(topic, value, partition=0)
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


async def shown(caller: Client, installation_id: str, runs: int) -> dict[str, Any]:
    """The last minute's statistics once they tell of so many runs."""
    async with asyncio.timeout(30):
        while True:
            recent: dict[str, Any] | None = (await caller.get(f"/{installation_id}/stats")).json()["recent"]
            if recent is not None and recent["runs"] == runs:
                return recent
            await asyncio.sleep(0.05)
