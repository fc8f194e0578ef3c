"""Outlet: a whole worker as it is deployed (``services.runtime.app``), the plugins' code in processes of their own.

It is wired by its own ``app.py``. From outside come only a consumer group and a directory for each measurement, and the
probe, which is told when a hook has been brought to its end: with its effects committed.
"""

from contextlib import ExitStack
from unittest.mock import patch

from aiokafka import TopicPartition

from bench.contenders.probe import Probe
from bench.contenders.task import Task, given_task
from services.common import directory
from services.common.topics import Topic
from services.runtime import app
from services.runtime.delivery.consumer import EventConsumer
from services.runtime.delivery.lanes import HookRun


def main(task: Task, probe: Probe) -> None:
    """Run the worker until the process ends."""
    finish, on_partitions_assigned = HookRun.finish, EventConsumer.on_partitions_assigned

    def finish_and_count(run: HookRun, failure: str | None = None) -> None:
        finish(run, failure)
        if run.event.type == task.event and run.lane.installation.plugin_id == task.plugin:
            probe.handled(run.event.id, run.event.time)

    async def assign_and_tell(consumer: EventConsumer, assigned: "set[TopicPartition]") -> None:
        await on_partitions_assigned(consumer, assigned)
        probe.assigned(each.partition for each in assigned if each.topic == task.topic)

    own = Topic(task.directory, "the installations of one measurement", cleanup="compact", partitions=1)
    with ExitStack() as changed:
        for place, name, value in (
            (app, "GROUP", task.group),
            (directory, "INSTALLATIONS", own),
            (HookRun, "finish", finish_and_count),
            (EventConsumer, "on_partitions_assigned", assign_and_tell),
        ):
            changed.enter_context(patch.object(place, name, value))
        app.main()


if __name__ == "__main__":
    main(given_task(), Probe())
