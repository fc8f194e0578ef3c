"""What insights decides about circuit breakers is carried out once, shown, announced and raised as an event."""

import asyncio
import json
from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from outlet.local.waiting import until
from services.common.events import DomainEvent, read_event
from services.common.insights import BreakerChange, encode
from services.common.topics import BREAKERS, PLUGIN_EVENTS
from services.registry.reports.executions import GROUP
from tests.registry.platform import Client
from tests.registry.summaries import produce
from tests.registry.topic import following
from tests.registry.worker import FAILS, SUCCEEDS, FakeWorker

WITHIN = 30.0


class Breaker:
    """One active installation, and those who decide about its breaker."""

    def __init__(self, owner: Client, installation_id: str, bootstrap: str, revision: int) -> None:
        self.owner = owner
        self.revision = revision
        """The installation's at the breaker's last change."""
        self.id = installation_id
        self._bootstrap = bootstrap

    def decision(self, state: Any, revision: int, **members: Any) -> bytes:
        known: dict[str, Any] = {"reason": f"told {state}", "open_seconds": 30.0, "probes": 5}
        return encode(BreakerChange(installation_id=self.id, revision=revision, state=state, **known | members))

    async def tell(self, *values: bytes) -> None:
        await produce(self._bootstrap, *values, topic=BREAKERS.name)

    async def taken(self) -> None:
        """Wait until the registry has dealt with all that was told."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self._bootstrap, group_id=GROUP, enable_auto_commit=False)
        await consumer.start()
        try:
            partition = TopicPartition(BREAKERS.name, 0)
            consumer.assign([partition])
            (end,) = (await consumer.end_offsets([partition])).values()

            async def committed() -> bool:
                return bool((await consumer.committed(partition) or 0) >= end)

            await until(committed, within=WITHIN, what="the registry has taken all decisions")
        finally:
            await consumer.stop()

    async def turn(self, state: str) -> dict[str, Any]:
        """Decide for the present state, and wait until it is carried out."""
        await self.tell(self.decision(state, self.revision))
        return await self.becomes(state)

    async def becomes(self, state: str) -> dict[str, Any]:
        """The installation's details once its breaker has the state."""
        details: dict[str, Any] = {}

        async def has() -> bool:
            details.update(await self.owner.read(self.id))
            return bool(details["breaker"]["state"] == state)

        await until(has, within=WITHIN, what=f"the breaker is {state}")
        self.revision = details["revision"]
        return details

    async def raised(self, count: int) -> list[DomainEvent]:
        """What was raised once it is so much: the outbox takes a moment."""
        found: list[DomainEvent] = []

        async def enough() -> bool:
            found[:] = await self.events()
            return len(found) >= count

        await until(enough, within=WITHIN, what=f"{count} events are raised")
        return found

    async def events(self) -> list[DomainEvent]:
        """What was raised about this installation so far."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self._bootstrap, enable_auto_commit=False)
        await consumer.start()
        try:
            partitions = [
                TopicPartition(PLUGIN_EVENTS.name, number) for number in await _partitions(consumer, PLUGIN_EVENTS.name)
            ]
            consumer.assign(partitions)
            await consumer.seek_to_beginning(*partitions)
            ends = await consumer.end_offsets(partitions)
            found = []
            for partition, end in ends.items():
                while await consumer.position(partition) < end:
                    record = await consumer.getone(partition)
                    event = read_event(record.headers, record.value)
                    if json.loads(event.data).get("installationId") == self.id:
                        found.append(event)
            return sorted(found, key=lambda event: event.time)
        finally:
            await consumer.stop()


async def _partitions(consumer: AIOKafkaConsumer, topic: str) -> list[int]:
    await consumer.end_offsets([TopicPartition(topic, 0)])
    async with asyncio.timeout(WITHIN):
        while not (found := consumer.partitions_for_topic(topic)):  # noqa: ASYNC110  metadata comes by itself
            await asyncio.sleep(0.05)
    return sorted(found)


@pytest.fixture
async def breaker(owner: Client, plugin_id: str, worker: FakeWorker, registry_bootstrap: str) -> Breaker:
    installation_id = (await owner.install(plugin_id))["id"]
    activated = await owner.post(f"/{installation_id}/activate")
    assert activated.status_code == 200
    return Breaker(owner, installation_id, registry_bootstrap, activated.json()["revision"])


async def test_a_breaker_opens_tries_and_closes_and_no_lifecycle_hook_runs(
    breaker: Breaker, worker: FakeWorker, registry_bootstrap: str
) -> None:
    before = await breaker.owner.read(breaker.id)
    assert (before["breaker"]["state"], before["breaker"]["until"]) == ("closed", None)
    opened = await breaker.turn("open")
    assert (opened["status"], opened["statusReason"]) == ("error", "circuit breaker open: told open")
    assert (opened["breaker"]["reason"], opened["breaker"]["probes"]) == ("told open", 5)
    since, until_ = (datetime.fromisoformat(opened["breaker"][name]) for name in ("since", "until"))
    assert (until_ - since).total_seconds() == 30
    assert (opened["errors"][0]["code"], opened["errors"][0]["source"]) == ("breaker_opened", "platform")
    half_open = await breaker.turn("half_open")
    assert (half_open["status"], half_open["statusReason"]) == ("error", "circuit breaker half-open: told half_open")
    closed = await breaker.turn("closed")
    assert (closed["status"], closed["statusReason"], closed["stats"]["activations"]) == ("active", None, 1)
    assert worker.hooks == ["ON_INSTALL", "ON_ACTIVATE"]
    async with following(registry_bootstrap) as topic:
        await topic.until(lambda record: record.key == breaker.id and record.revision == closed["revision"])
        own = [record.installation for record in topic.seen if record.key == breaker.id]
    states = [(found.status, found.breaker.state, found.listens) for found in own if found is not None]
    assert states[-4:] == [
        ("active", "closed", True),
        ("error", "open", True),
        ("error", "half_open", True),
        ("active", "closed", True),
    ]
    assert all(found.breaker.revision == found.revision for found in own[-4:] if found is not None)


async def test_events_say_when_a_breaker_opened_and_closed(breaker: Breaker) -> None:
    for state in ("open", "half_open", "open", "half_open", "closed"):
        await breaker.turn(state)
    events = await breaker.raised(2)
    assert [event.type for event in events] == ["plugin.breaker-opened", "plugin.breaker-closed"]
    opened = json.loads(events[0].data)
    assert (events[0].organization, events[0].store) == (breaker.owner.organization, "*")
    assert (opened["installationId"], opened["reason"]) == (breaker.id, "told open")


async def test_a_decision_happens_once_however_often_it_is_told(breaker: Breaker) -> None:
    revision = breaker.revision
    opening = breaker.decision("open", revision)
    await breaker.tell(opening, opening)
    opened = await breaker.becomes("open")
    await breaker.turn("half_open")
    await breaker.tell(opening, breaker.decision("closed", revision))
    closed = await breaker.turn("closed")
    await breaker.tell(opening)
    # What was told before has been dealt with once this has.
    reopened = await breaker.turn("open")
    assert reopened["revision"] == closed["revision"] + 1
    assert len([error for error in reopened["errors"] if error["code"] == "breaker_opened"]) == 2
    assert opened["revision"] < closed["revision"]


async def test_a_decision_that_does_not_fit_changes_nothing(breaker: Breaker) -> None:
    revision = breaker.revision
    await breaker.tell(
        b"rubbish",
        b"{}",
        b"null",
        breaker.decision("open", revision + 1),
        breaker.decision("half_open", revision),
        breaker.decision("closed", revision),
        breaker.decision("open", revision).replace(b"told open", b"told \\u0000"),
        breaker.decision("open", revision).replace(b"30.0", b"1e300"),
        breaker.decision("open", revision).replace(breaker.id.encode(), str(uuid4()).encode()),
        breaker.decision("open", revision).replace(breaker.id.encode(), b"no-uuid"),
    )
    before = await breaker.owner.read(breaker.id)
    opened = await breaker.turn("open")
    assert (before["status"], opened["revision"]) == ("active", before["revision"] + 1)


async def test_an_activation_closes_a_breaker_by_hand(breaker: Breaker, worker: FakeWorker) -> None:
    await breaker.turn("open")
    activated = await breaker.owner.post(f"/{breaker.id}/activate")
    assert (activated.status_code, activated.json()["status"]) == (200, "active")
    closed = await breaker.becomes("closed")
    assert closed["breaker"]["reason"] == "onActivate succeeded"
    assert worker.hooks == ["ON_INSTALL", "ON_ACTIVATE", "ON_ACTIVATE"]
    assert [event.type for event in await breaker.raised(2)] == ["plugin.breaker-opened", "plugin.breaker-closed"]


async def test_an_activation_that_fails_leaves_the_breaker_and_what_waits_for_it(
    breaker: Breaker, worker: FakeWorker
) -> None:
    await breaker.turn("open")
    worker.behaviour = FAILS
    assert (await breaker.owner.post(f"/{breaker.id}/activate")).status_code == 502
    found = await breaker.owner.read(breaker.id)
    assert (found["status"], found["breaker"]["state"]) == ("error", "open")
    assert found["statusReason"] == "circuit breaker open: told open"
    assert found["errors"][0]["during"] == "onActivate"
    await breaker.turn("half_open")
    assert (await breaker.turn("closed"))["status"] == "active"


async def test_a_deactivation_ends_it(breaker: Breaker, worker: FakeWorker) -> None:
    await breaker.turn("open")
    assert (await breaker.owner.post(f"/{breaker.id}/deactivate")).status_code == 200
    closed = await breaker.becomes("closed")
    assert (closed["status"], worker.hooks[-1]) == ("inactive", "ON_DEACTIVATE")
    assert (await breaker.owner.delete(f"/{breaker.id}")).status_code == 204


async def test_no_breaker_opens_while_an_operation_runs(breaker: Breaker, worker: FakeWorker) -> None:
    revision = breaker.revision
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def slow(hook: str, installation: Any) -> Any:
        begun.set()
        await may_end.wait()
        return await SUCCEEDS(hook, installation)

    worker.behaviour = slow
    deactivating = asyncio.create_task(breaker.owner.post(f"/{breaker.id}/deactivate"))
    await begun.wait()
    await breaker.tell(breaker.decision("open", revision))
    await breaker.taken()
    may_end.set()
    assert (await deactivating).json()["status"] == "inactive"
    worker.behaviour = SUCCEEDS
    await breaker.owner.post(f"/{breaker.id}/activate")
    await breaker.becomes("closed")
    opened = await breaker.turn("open")
    assert [error["code"] for error in opened["errors"]] == ["breaker_opened"]
