"""A peer: a FastStream subscriber that calls the hook in its own process.

Settings, after FastStream's documentation: where the hook costs nothing, a batch subscriber, its fastest kind, which
commits a batch once it is handled; where the hook waits for the database, ``max_workers`` for several events at once,
which commits an event before it is handled (at most once: weaker than what Outlet does, and faster). Payloads are
decoded as JSON and not validated (``apply_types=False``): nobody else validates either.
"""

import asyncio
import logging
from typing import Any

from faststream import AckPolicy, FastStream
from faststream.kafka import KafkaBroker

from bench.contenders.peer_hooks import hook_of
from bench.contenders.probe import Probe
from bench.contenders.raw_loop import Assignments
from bench.contenders.task import Task, given_task

BATCH = 500
"""As many as Outlet takes at once."""


async def run(task: Task, probe: Probe) -> None:
    """Consume until the process ends."""
    # Without a logger: it writes two lines for each event. What fails shows in the count of what was handled.
    broker = KafkaBroker(task.bootstrap, apply_types=False, allow_auto_create_topics=False, logger=None)
    hook = hook_of(task)
    shared: dict[str, Any] = {
        "group_id": task.group,
        "listener": Assignments(probe),
        "session_timeout_ms": 30_000,
        "auto_offset_reset": "earliest",
    }

    async def handle(document: dict[str, Any]) -> None:
        await hook(document)
        probe.handled(document["id"], document["createdAt"])

    async def handle_all(documents: list[dict[str, Any]]) -> None:
        for document in documents:
            await handle(document)

    if task.workload == "no-op":
        broker.subscriber(task.topic, batch=True, max_records=BATCH, ack_policy=AckPolicy.ACK, **shared)(handle_all)
    else:
        broker.subscriber(task.topic, max_workers=task.concurrency, **shared)(handle)
    await FastStream(broker).run(log_level=logging.WARNING)


if __name__ == "__main__":
    asyncio.run(run(given_task(), Probe()))
