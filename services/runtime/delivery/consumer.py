"""Takes domain events from Kafka, and commits a record only when everything it caused is durable."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TypeAlias

import asyncpg
import stamina
import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from services.common.events import MalformedEvent, read_event
from services.common.topics import EVENT_TOPICS
from services.common.tracing import OFF, Tracing
from services.common.tracing.messaging import processing
from services.runtime.commerce import projector
from services.runtime.delivery.arrivals import Arrival
from services.runtime.delivery.dead_letters import UnreadableRecords
from services.runtime.delivery.dispatch import Dispatcher
from services.runtime.delivery.group import GROUP
from services.runtime.delivery.hooks import Hooks
from services.runtime.delivery.membership import Membership, NameTaken
from services.runtime.delivery.offsets import OffsetTracker
from services.runtime.delivery.unit_of_work import is_transient

log = structlog.get_logger(__name__)

TOPICS = tuple(topic.name for topic in EVENT_TOPICS)
BATCH = 200
COMMIT_SECONDS = 0.5
PARTITIONS_SECONDS = 5.0
"""How often a worker with a lasting name looks whether every partition is in somebody's hands."""
UNFIT = (asyncpg.DataError, asyncpg.ProgramLimitExceededError)
"""What PostgreSQL raises for a value that it cannot hold, or not in an index."""

Record: TypeAlias = "ConsumerRecord[bytes, bytes]"


class _Withdrawn(BaseException):
    """Keeps aiokafka from joining the group again: whatever Exception a listener raises, it goes on to do that."""


class EventConsumer(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka is not typed
    """One member of the consumer group of all workers; with ``membership``, a static one."""

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        database: "asyncpg.Pool[asyncpg.Record]",
        dispatcher: Dispatcher,
        hooks: Hooks,
        unreadable: UnreadableRecords,
        *,
        records_in_flight: int,
        drain_seconds: float,
        tracing: Tracing = OFF,
        membership: Membership | None = None,
        topics: Sequence[str] = TOPICS,
    ) -> None:
        self._consumer = consumer
        self._membership = membership
        self._topics = topics
        self._database = database
        self._dispatcher = dispatcher
        self._hooks = hooks
        self._unreadable = unreadable
        self._records_in_flight = records_in_flight
        self._drain_seconds = drain_seconds
        self._tracing = tracing
        self._progress = asyncio.Event()
        self._offsets = OffsetTracker(self._progress.set)
        self._ends: dict[TopicPartition, int] = {}
        """How far each partition reached when it was assigned: up to there, another worker may have been."""
        self._taking: asyncio.Task[None] | None = None
        self._crash: BaseException | None = None
        hooks.crashed = self._crashed

    @property
    def unfinished(self) -> int:
        """Records that were taken and are not finished yet."""
        return self._offsets.unfinished()

    async def run(self) -> None:
        """Consume until cancelled. Raises when a record could neither be processed nor kept: it is then redelivered.

        Raises :class:`NameTaken` when another worker has joined under this one's name.
        """
        self._subscribe()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._commit_regularly())
            if self._membership is not None:
                tasks.create_task(self._take_up_partitions(self._membership))
            while True:
                await self._until(lambda: not self.full())
                if self._crash is not None:
                    raise self._crash
                batches = await self._fetch()
                if batches:
                    # Cancelled or not, what was taken is handed on to its hooks: drain waits for all of it.
                    self._taking = asyncio.create_task(self._take(batches))
                    self._taking.add_done_callback(self._taken)
                    await asyncio.shield(self._taking)

    def full(self) -> bool:
        """Whether no more records are taken until some are done."""
        return self._offsets.unfinished() >= self._records_in_flight

    async def drain(self) -> None:
        """Let what was taken end, for a bounded time, and commit; what did not end is delivered again.

        Then leave the group at once: what else of this worker is ended nobody has to wait for.
        """
        await self._settle(None)
        if self._taking is not None:
            self._taking.cancel()
            await asyncio.wait([self._taking])
        await self._hooks.close()
        await self._consumer.stop()

    async def on_partitions_assigned(self, assigned: "set[TopicPartition]") -> None:
        log.info("partitions assigned", count=len(assigned))
        if self._membership is not None:
            self._membership.joined(self._consumer._coordinator.member_id)  # aiokafka shows it nowhere else
        try:
            self._ends |= await self._consumer.end_offsets(assigned) if assigned else {}
        except KafkaError as error:
            log.warning("ends of partitions not known: every event is looked up", error=repr(error))

    async def on_partitions_revoked(self, revoked: "set[TopicPartition]") -> None:
        if self._membership is not None and await self._membership.is_lost():
            taken = NameTaken(self._membership.name)
            log.error("name taken", worker_instance=self._membership.name, error=str(taken))
            self._crashed(taken)
            raise _Withdrawn
        await self._settle(set(revoked))
        self._offsets.forget(set(revoked))
        for partition in revoked:
            self._ends.pop(partition, None)

    async def _fetch(self) -> "dict[TopicPartition, list[Record]]":
        try:
            return await self._consumer.getmany(timeout_ms=200, max_records=BATCH)  # type: ignore[no-any-return]
        except KafkaError as error:
            # A worker that was replaced while it was joining is told so (FENCED_INSTANCE_ID), in words aiokafka lacks.
            if self._membership is not None and await self._membership.is_lost():
                raise NameTaken(self._membership.name) from error
            raise

    def _subscribe(self) -> None:
        self._consumer.subscribe(self._topics, listener=self)

    async def _take_up_partitions(self, membership: Membership) -> None:
        """Join again when there are partitions that nobody has: the broker lets the leader share them out then."""
        while True:
            await asyncio.sleep(PARTITIONS_SECONDS)
            existing = [
                TopicPartition(topic, number)
                for topic in self._topics
                for number in self._consumer.partitions_for_topic(topic) or ()
            ]
            if await membership.leaves_out(existing):
                log.info("partitions are nobody's: joining again")
                self._subscribe()

    async def _take(self, batches: "dict[TopicPartition, list[Record]]") -> None:
        arrivals: list[Arrival] = []
        changes: list[tuple[Record, projector.Change]] = []
        for partition, records in batches.items():
            offsets = self._offsets.of(partition)
            end = self._ends.get(partition)
            for record in records:
                offsets.start(record.offset)
                try:
                    event = read_event(record.headers, record.value)
                    change = projector.read_change(event)
                except MalformedEvent as error:
                    await self._refuse(record, "malformed_event", str(error))
                    continue
                span = processing(self._tracing, record, GROUP)
                seen_before = end is None or record.offset < end
                arrivals.append(Arrival(record, event, offsets, seen_before=seen_before, span=span))
                if change is not None:
                    changes.append((record, change))
        refused = await self._project(changes)
        if refused:
            for arrival in arrivals:
                if id(arrival.record) in refused:
                    arrival.refused("malformed_event")
            arrivals = [arrival for arrival in arrivals if id(arrival.record) not in refused]
        async for attempt in stamina.retry_context(on=is_transient_exception, attempts=None, timeout=None):
            with attempt:
                await self._dispatcher.dispatch(arrivals)

    async def _project(self, changes: list[tuple[Record, projector.Change]]) -> set[int]:
        """Apply changes together, or one by one when PostgreSQL refuses one; returns the refused records."""
        if not changes:
            return set()
        try:
            await self._apply([change for _, change in changes])
            return set()
        except UNFIT:
            refused: set[int] = set()
        for record, change in changes:
            try:
                await self._apply([change])
            except UNFIT as error:
                refused.add(id(record))
                await self._refuse(record, "malformed_event", f"PostgreSQL cannot hold the payload: {error}")
        return refused

    async def _apply(self, changes: list[projector.Change]) -> None:
        async for attempt in stamina.retry_context(on=is_transient_exception, attempts=None, timeout=None):
            with attempt:
                async with self._database.acquire() as connection:
                    await projector.apply(connection, changes)

    async def _refuse(self, record: Record, code: str, reason: str) -> None:
        await self._unreadable.publish(record, code, reason, at=datetime.now(UTC).isoformat())
        self._offsets.of(TopicPartition(record.topic, record.partition)).finish(record.offset)

    def _taken(self, taking: "asyncio.Task[None]") -> None:
        self._progress.set()
        if not taking.cancelled() and (error := taking.exception()):
            self._crashed(error)

    def _crashed(self, error: BaseException) -> None:
        self._crash = error
        self._progress.set()

    async def _settle(self, partitions: "set[TopicPartition] | None") -> None:
        try:
            async with asyncio.timeout(self._drain_seconds):
                await self._until(lambda: self._handed_on() and self._offsets.unfinished(partitions) == 0)
        except TimeoutError:
            log.warning("hooks still run; their events are delivered again", count=self._offsets.unfinished(partitions))
        await self._commit()

    def _handed_on(self) -> bool:
        return self._taking is None or self._taking.done()

    async def _until(self, holds: Callable[[], bool]) -> None:
        while not holds() and self._crash is None:
            self._progress.clear()
            await self._progress.wait()

    async def _commit_regularly(self) -> None:
        while True:
            await asyncio.sleep(COMMIT_SECONDS)
            await self._commit()

    async def _commit(self) -> None:
        assigned = self._consumer.assignment()
        offsets = {key: offset for key, offset in self._offsets.committable().items() if key in assigned}
        if not offsets:
            return
        try:
            await self._consumer.commit(offsets)
        except (CommitFailedError, IllegalStateError, KafkaError) as error:
            # The next commit covers it; if the partitions moved away, the inbox recognises what was done.
            log.warning("offsets not committed", error=repr(error))
            return
        self._offsets.committed(offsets)


def is_transient_exception(error: Exception) -> bool:
    return is_transient(error)
