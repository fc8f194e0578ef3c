import asyncio
import random
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaProducer

from outlet.manifest import ComponentDeclaration, HookDeclaration
from services.common.directory import (
    REVISION_HEADER,
    Directory,
    DirectoryFollower,
    Installation,
    decode_installation,
    encode_installation,
)
from services.common.kafka import open_producer
from services.common.topics import INSTALLATIONS
from tests.runtime.installations import installation


def directory_of(*installations: Installation) -> Directory:
    directory = Directory()
    for found in installations:
        directory.put(found)
    return directory


def changed(found: Installation, **changes: Any) -> Installation:
    import msgspec

    return msgspec.structs.replace(found, **changes)


def test_an_installation_of_one_store_hears_only_that_store() -> None:
    everywhere, one = installation("a"), installation("b", store="s1")
    directory = directory_of(everywhere, one, installation("c", organization="globex"))
    assert directory.listeners("sale.created", "acme", "s1") == [everywhere, one]
    assert directory.listeners("sale.created", "acme", "s2") == [everywhere]
    assert directory.listeners("sale.updated", "acme", "s1") == []
    assert directory.listeners("sale.created", "nobody", "s1") == []


def test_only_active_installations_listen_and_show_but_all_are_found() -> None:
    shown = ComponentDeclaration(injection_point="POS.AfterCheckout", name="Points", title="Points")
    inactive = installation(status="inactive", components=(shown,))
    directory = directory_of(inactive)
    assert directory.listeners("sale.created", "acme", "s1") == []
    assert directory.components("POS.AfterCheckout", "acme", "s1") == []
    assert directory.find("loyalty-points", "acme", "s1") == inactive
    directory.put(active := changed(inactive, status="active", revision=2))
    assert directory.components("POS.AfterCheckout", "acme", "s1") == [(active, shown)]


def test_the_indexes_answer_what_a_look_at_every_installation_would() -> None:
    chance = random.Random(1)  # noqa: S311
    events, points, stores = (
        ("sale.created", "sale.updated"),
        ("POS.Cart", "POS.AfterCheckout"),
        (None, "s1", "s2", "s3"),
    )
    made = []
    for number in range(200):
        declared = ComponentDeclaration(
            injection_point=chance.choice(points), name="X", title="X", priority=chance.randrange(3)
        )
        made.append(
            installation(
                f"plugin-{number}",
                store=chance.choice(stores),
                status=chance.choice(("active", "inactive", "error")),
                hooks=(HookDeclaration(event=chance.choice(events)),),
                components=(declared,),
            )
        )
    directory = directory_of(*made)
    for store in (*stores, "unknown"):
        here = [found for found in made if found.covers(store)]
        assert [directory.find(found.plugin_id, "acme", store) for found in here] == here
        for event in events:
            heard = [found for found in here if found.listens and found.manifest.hooks[0].event == event]
            assert {found.id for found in directory.listeners(event, "acme", store or "*")} == {
                found.id for found in heard
            }
        for point in points:
            offered = [found for found in here if found.status == "active"]
            offered = [found for found in offered if found.manifest.components[0].injection_point == point]
            offered.sort(key=lambda found: (-found.manifest.components[0].priority, found.plugin_id))
            assert [found for found, _ in directory.components(point, "acme", store)] == offered


def test_components_come_in_the_order_of_their_priority() -> None:
    def with_priority(plugin: str, priority: int) -> Installation:
        declared = ComponentDeclaration(injection_point="POS.AfterCheckout", name="X", title="X", priority=priority)
        return installation(plugin, components=(declared,))

    directory = directory_of(with_priority("low", 1), with_priority("b-high", 9), with_priority("a-high", 9))
    offered = directory.components("POS.AfterCheckout", "acme", None)
    assert [found.plugin_id for found, _ in offered] == ["a-high", "b-high", "low"]


def test_a_repeated_older_state_is_ignored_and_removal_is_final() -> None:
    new = installation(revision=5)
    directory = directory_of(new, changed(new, revision=4, status="inactive"))
    assert directory.get(new.id) == new
    directory.remove(new.id)
    directory.remove(new.id)
    assert len(directory) == 0
    assert directory.find("loyalty-points", "acme", None) is None


def test_the_snapshot_survives_the_wire() -> None:
    found = installation(store="s1", config={"rate": "0.5", "nested": {"a": [1]}}, hooks=(HookDeclaration(event="x"),))
    assert decode_installation(encode_installation(found)) == found


async def test_waiting_for_a_revision_ends_when_it_is_reached() -> None:
    directory = Directory()
    waiting = asyncio.create_task(directory.reached(7))
    directory.advance(6)
    await asyncio.sleep(0)
    assert not waiting.done()
    directory.advance(7)
    await asyncio.wait_for(waiting, 1)
    await directory.reached(3)


@dataclass
class Topic:
    producer: AIOKafkaProducer

    async def publish(self, found: Installation | str, revision: int, value: bytes | None = None) -> None:
        key = found if isinstance(found, str) else found.id
        content = value if isinstance(found, str) else encode_installation(found)
        await self.producer.send_and_wait(
            INSTALLATIONS.name,
            key=key.encode(),
            value=content,
            partition=0,
            headers=[(REVISION_HEADER, str(revision).encode())],
        )


async def test_the_follower_reads_from_the_beginning_says_when_it_caught_up_and_goes_on(
    fresh_kafka_bootstrap: str,
) -> None:
    directory = Directory()
    follower = DirectoryFollower(fresh_kafka_bootstrap, directory)
    first, second = installation("first", revision=1), installation("second", revision=2)
    async with open_producer(fresh_kafka_bootstrap) as producer:
        topic = Topic(producer)
        await topic.publish(first, 1)
        await topic.publish("broken", 2, b"{not json")
        await topic.publish(second, 2)
        await topic.publish(first.id, 3, None)
        task = asyncio.create_task(follower.run())
        try:
            await asyncio.wait_for(follower.caught_up.wait(), 20)
            assert directory.get(first.id) is None
            assert directory.get(second.id) == second
            assert directory.revision == 3
            await topic.publish(changed(second, status="inactive", revision=4), 4)
            await asyncio.wait_for(directory.reached(4), 20)
            assert directory.listeners("sale.created", "acme", "s1") == []
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_an_empty_topic_is_caught_up_with_at_once(fresh_kafka_bootstrap: str) -> None:
    follower = DirectoryFollower(fresh_kafka_bootstrap, Directory())
    task = asyncio.create_task(follower.run())
    try:
        await asyncio.wait_for(follower.caught_up.wait(), 20)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
