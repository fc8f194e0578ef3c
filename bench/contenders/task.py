"""What a contender is told: its one argument, JSON."""

import sys
from typing import Literal, TypeAlias

import msgspec

WorkloadName: TypeAlias = Literal["no-op", "loyalty"]


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """Where the events are and what is to be done with each.

    ``group`` is the consumer group, whose offsets are where the events will begin; ``dsn`` is empty for who needs no
    database; ``concurrency`` is how many events a peer handles at once. The rest is for Outlet: the topic of its
    ``directory``, and the ``plugin`` whose hooks count.
    """

    bootstrap: str
    group: str
    topic: str
    event: str
    workload: WorkloadName
    dsn: str = ""
    concurrency: int = 1
    directory: str = ""
    plugin: str = ""


def given_task() -> Task:
    """The task on the command line."""
    return msgspec.json.decode(sys.argv[1], type=Task)
