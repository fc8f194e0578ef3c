"""The limit: a bare aiokafka loop that routes on the headers, decodes the JSON and awaits the hook in its own process.

Headers become a dict, as a router needs them, and the JSON is read by the standard library, as the other peers do it.
It commits twice a second what it has handled, as Outlet does: at least once.
"""

import asyncio
import json
import time
from collections.abc import Iterable

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition

from bench.contenders.peer_hooks import hook_of
from bench.contenders.probe import Probe
from bench.contenders.task import Task, given_task

COMMIT_SECONDS = 0.5


class Assignments(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka is not typed
    """Tells the probe."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe

    def on_partitions_revoked(self, revoked: "set[TopicPartition]") -> None:
        """Those that stay are told of again."""

    def on_partitions_assigned(self, assigned: "set[TopicPartition]") -> None:
        self._probe.assigned(each.partition for each in assigned)


async def run(task: Task, probe: Probe) -> None:
    """Consume until the process ends."""
    hook = hook_of(task)
    wanted = task.event.encode()
    consumer = AIOKafkaConsumer(
        bootstrap_servers=task.bootstrap, group_id=task.group, enable_auto_commit=False, session_timeout_ms=30_000
    )
    await consumer.start()
    consumer.subscribe([task.topic], listener=Assignments(probe))
    committed = time.monotonic()

    async def handle(records: "Iterable[ConsumerRecord[bytes, bytes]]") -> None:
        for record in records:
            if dict(record.headers)["ce_type"] == wanted:
                document = json.loads(record.value)
                await hook(document)
                probe.handled(document["id"], document["createdAt"])

    while True:
        batches = await consumer.getmany(timeout_ms=200)
        for records in batches.values():
            await handle(records)
        if batches and time.monotonic() - committed > COMMIT_SECONDS:
            await consumer.commit()
            committed = time.monotonic()


if __name__ == "__main__":
    asyncio.run(run(given_task(), Probe()))
