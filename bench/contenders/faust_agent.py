"""A peer: a Faust agent that calls the hook in its own process.

Settings, after Faust's documentation: ``concurrency`` is its way to have several events in hand at once (each of so
many instances of the agent takes its share of the stream); no web server and no table store, of which nothing is used.
Buffers and commit intervals are its defaults, which were made for throughput. Offsets are committed once an event has
been handled: at least once.
"""

import os
from typing import Any

import faust

from bench.contenders.peer_hooks import hook_of
from bench.contenders.probe import Probe
from bench.contenders.task import Task, given_task


def main(task: Task, probe: Probe) -> None:
    """Consume until the process ends."""
    app = faust.App(
        task.group,
        broker=f"kafka://{task.bootstrap}",
        store="memory://",
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        broker_session_timeout=30.0,
    )
    source = app.topic(task.topic, key_serializer="raw", value_serializer="json")
    hook = hook_of(task)

    @app.agent(source, concurrency=task.concurrency)
    async def handle(stream: Any) -> None:
        async for document in stream:
            try:
                await hook(document)
            except Exception:  # in Faust none may leave an agent, or its event counts as done
                app.logger.exception("the hook failed")
                os._exit(1)
            probe.handled(document["id"], document["createdAt"])

    async def assigned(_: faust.App, partitions: Any, **__: Any) -> None:
        probe.assigned(each.partition for each in partitions if each.topic == task.topic)

    app.on_partitions_assigned.connect(assigned)  # type: ignore[arg-type]  # it is called as Faust documents it

    faust.Worker(app, quiet=True, loglevel="ERROR", redirect_stdouts=False).execute_from_commandline()


if __name__ == "__main__":
    main(given_task(), Probe())
