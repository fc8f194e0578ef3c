"""A worker's place in the consumer group under a name that outlives it: Kafka's static membership (KIP-345).

Whoever joins under a name takes the place of whoever had it, with its partitions and without a rebalance. aiokafka does
the joining and leaves two things to its user. Its heartbeats do not carry the name, so a member that was replaced only
hears that it is unknown, joins again, and replaces its successor, to and fro. And a leader that was replaced does not
know that it leads, so nobody notices partitions that are added. Decision 19 has the observations.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import KafkaError

log = structlog.get_logger(__name__)

ANSWER_SECONDS = 5.0
UUID_LENGTH = 36
"""The broker makes a static member's id of its name, a hyphen and a random UUID."""


class NameTaken(Exception):
    """Another worker runs under this worker's name, so this one must not go on."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"another worker has joined as {name!r} and has taken this one's partitions. Where this one was thought "
            "to be dead, all is well; otherwise give each worker an OUTLET_WORKER_INSTANCE of its own, such as the "
            "name of its pod in a StatefulSet"
        )


@dataclass(frozen=True, slots=True)
class _Group:
    """The group as the broker describes it."""

    stable: bool
    members: dict[str, bytes]
    """Assignments, as encoded, by member id."""


class Membership:
    """The place that one worker has under ``name`` in ``group``."""

    def __init__(self, bootstrap: str, group: str, name: str) -> None:
        self.name = name
        self._bootstrap = bootstrap
        self._group = group
        self._own: str | None = None
        self._complete: set[TopicPartition] | None = None
        """The partitions that were found to be in somebody's hands."""

    def joined(self, member_id: str) -> None:
        """The group has let this worker in, under this id."""
        self._own = member_id
        self._complete = None

    async def is_lost(self) -> bool:
        """Whether another worker has the place that this one had. False while the broker does not say."""
        if self._own is None:
            return False  # whoever joins for the first time is the newer one
        group = await self._describe()
        holders = [member for member in group.members if _name(member) == self.name] if group else []
        return bool(holders) and self._own not in holders

    async def leaves_out(self, existing: Iterable[TopicPartition]) -> bool:
        """Whether some of the ``existing`` partitions are nobody's. False while the broker does not say."""
        wanted = set(existing)
        if wanted == self._complete:
            return False
        group = await self._describe()
        if group is None or not group.stable:
            return False
        if wanted - {partition for encoded in group.members.values() for partition in _partitions(encoded)}:
            return True
        self._complete = wanted
        return False

    async def _describe(self) -> _Group | None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS), _admin(self._bootstrap) as admin:
                (response,) = await admin.describe_consumer_groups([self._group])
        except (KafkaError, TimeoutError) as error:
            log.warning("the broker does not describe the group", error=repr(error))
            return None
        code, _, state, _, _, members, *_ = response.groups[0]
        return None if code else _Group(state == "Stable", {member[0]: member[4] for member in members})


@asynccontextmanager
async def _admin(bootstrap: str) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        await admin.start()
        yield admin
    finally:
        await admin.close()


def _name(member_id: str) -> str:
    """The name that a static member's id was made of."""
    return member_id[: -UUID_LENGTH - 1]


def _partitions(encoded: bytes) -> list[TopicPartition]:
    return list(ConsumerProtocolMemberAssignment.decode(encoded).partitions()) if encoded else []
