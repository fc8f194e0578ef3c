"""``POST /api/events`` against a broker: what is acknowledged is on the topic, what is refused is not."""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from outlet.local.broker import Broker
from outlet.local.issuer import Issuer
from services.common.errors import Unavailable
from services.common.events import read_event
from services.common.kafka import open_producer
from services.gateway.admission import Record
from services.gateway.ingest import Publisher

STRUCTURED = {"Content-Type": "application/cloudevents+json"}
BATCH = {"Content-Type": "application/cloudevents-batch+json"}


def event(**changes: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": uuid.uuid4().hex,
        "source": "/pos/7",
        "type": "sale.created",
        "organization": "acme",
        "store": "s-1",
        "data": {"id": f"sale-{uuid.uuid4().hex}", "total": "12.50"},
    } | changes


class Topic:
    """Reads whole topics."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer

    async def records(self, name: str) -> list[Any]:
        partitions = [TopicPartition(name, number) for number in range(4)]
        self._consumer.assign(partitions)
        ends = await self._consumer.end_offsets(partitions)
        await self._consumer.seek_to_beginning(*partitions)
        records: list[Any] = []
        while sum(ends.values()) > len(records):
            for found in (await self._consumer.getmany(*partitions, timeout_ms=200)).values():
                records += found
        return records

    async def ids(self, name: str) -> list[str]:
        return [read_event(record.headers, record.value).id for record in await self.records(name)]


@pytest.fixture
async def topic(kafka_bootstrap: str) -> AsyncIterator[Topic]:
    # Without "earliest", a reset to the end may come after the seek to the beginning, and win.
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka_bootstrap,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=50,
    )
    await consumer.start()
    yield Topic(consumer)
    await consumer.stop()


async def test_structured_event_is_on_its_topic_once_acknowledged(cashier: httpx.AsyncClient, topic: Topic) -> None:
    sent = event()
    response = await cashier.post("/api/events", json=sent, headers=STRUCTURED)
    assert (response.status_code, response.json()) == (202, {"id": sent["id"]})
    [record] = [each for each in await topic.records("outlet.events.sale") if sent["data"]["id"].encode() in each.key]
    assert record.key == f"acme/s-1/{sent['data']['id']}".encode()
    assert json.loads(record.value) == sent["data"]
    assert read_event(record.headers, record.value).id == sent["id"]


async def test_binary_event_is_taken_with_encoded_attributes(cashier: httpx.AsyncClient, topic: Topic) -> None:
    event_id = uuid.uuid4().hex
    headers = {
        "ce-specversion": "1.0",
        "ce-id": event_id,
        "ce-source": "/pos/caf%C3%A9%207",
        "ce-type": "customer.updated",
        "ce-organization": "acme",
        "ce-store": "s-1",
        "ce-time": "2026-03-01T10:00:00Z",
        "Content-Type": "application/json",
    }
    response = await cashier.post("/api/events", content=b'{"id":"c-1", "credit": 1.10}', headers=headers)
    assert response.status_code == 202
    [record] = [
        each
        for each in await topic.records("outlet.events.customer")
        if read_event(each.headers, each.value).id == event_id
    ]
    assert read_event(record.headers, record.value).source == "/pos/café 7"
    assert record.value == b'{"id":"c-1", "credit": 1.10}'


async def test_batch_is_acknowledged_as_a_whole(cashier: httpx.AsyncClient, topic: Topic) -> None:
    batch = [event(), event(type="product.created"), event(type="shift.closed", data=None)]
    response = await cashier.post("/api/events", json=batch, headers=BATCH)
    assert (response.status_code, response.json()) == (202, {"ids": [each["id"] for each in batch]})
    for sent, name in zip(batch, ("sale", "product", "other"), strict=True):
        assert sent["id"] in await topic.ids(f"outlet.events.{name}")


async def test_thousand_events_go_in_one_batch(cashier: httpx.AsyncClient, topic: Topic) -> None:
    batch = [event(type="store.updated") for _ in range(1_000)]
    response = await cashier.post("/api/events", json=batch, headers=BATCH)
    assert response.status_code == 202
    assert set(response.json()["ids"]) <= set(await topic.ids("outlet.events.store"))


async def test_empty_batch_is_acknowledged(cashier: httpx.AsyncClient) -> None:
    response = await cashier.post("/api/events", json=[], headers=BATCH)
    assert (response.status_code, response.json()) == (202, {"ids": []})


async def test_one_bad_event_keeps_its_whole_batch_out(cashier: httpx.AsyncClient, topic: Topic) -> None:
    good = event()
    response = await cashier.post("/api/events", json=[good, event(store=None), event(id="")], headers=BATCH)
    problem = response.json()
    assert (response.status_code, problem["code"]) == (400, "missing_store")
    assert problem["detail"].startswith("Event 1 of the batch:")
    assert [(each["index"], each["code"]) for each in problem["errors"]] == [(1, "missing_store"), (2, "invalid_event")]
    assert good["id"] not in await topic.ids("outlet.events.sale")


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"specversion": "0.3"}, 400, "invalid_event"),
        ({"id": None}, 400, "invalid_event"),
        ({"data": {"total": "1.00"}}, 400, "invalid_event"),
        ({"type": "loyalty-points/points-earned"}, 400, "reserved_type"),
        ({"organization": None}, 400, "missing_organization"),
        ({"store": None}, 400, "missing_store"),
        ({"organization": "rival"}, 403, "wrong_organization"),
    ],
)
async def test_refused_event_leaves_nothing_behind(
    cashier: httpx.AsyncClient, topic: Topic, changes: dict[str, Any], status: int, code: str
) -> None:
    sent = event() | changes
    response = await cashier.post("/api/events", json=sent, headers=STRUCTURED)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.headers["Content-Type"] == "application/problem+json"
    for name in ("sale", "plugin", "other"):
        assert sent["id"] not in await topic.ids(f"outlet.events.{name}")


async def test_token_of_one_store_cannot_send_for_another(client: httpx.AsyncClient, issuer: Issuer) -> None:
    headers = {"Authorization": f"Bearer {issuer.token('cashier', 'acme', store='s-2')}"} | STRUCTURED
    response = await client.post("/api/events", json=event(), headers=headers)
    assert (response.status_code, response.json()["code"]) == (403, "wrong_store")


async def test_publisher_of_plugins_may_not_send_events(client: httpx.AsyncClient, issuer: Issuer) -> None:
    headers = {"Authorization": f"Bearer {issuer.token('publisher', 'acme')}"} | STRUCTURED
    response = await client.post("/api/events", json=event(), headers=headers)
    assert (response.status_code, response.json()["code"]) == (403, "forbidden")


@pytest.mark.parametrize(
    ("content_type", "status", "code"),
    [
        ("application/cloudevents+avro", 415, "unsupported_media_type"),
        ("application/cloudevents-batch+avro", 415, "unsupported_media_type"),
        ("application/json", 400, "invalid_event"),
        ("application/cloudevents-batch+json", 400, "invalid_event"),
    ],
)
async def test_content_that_is_no_cloudevent_is_refused(
    cashier: httpx.AsyncClient, content_type: str, status: int, code: str
) -> None:
    response = await cashier.post("/api/events", content=b"{}", headers={"Content-Type": content_type})
    assert (response.status_code, response.json()["code"]) == (status, code)


@pytest.mark.parametrize("announced", [True, False])
async def test_body_over_a_mebibyte_is_refused(cashier: httpx.AsyncClient, announced: bool) -> None:
    body = b" " * (1024 * 1024 + 1)

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 64 * 1024):
            yield body[start : start + 64 * 1024]

    response = await cashier.post("/api/events", content=body if announced else chunks(), headers=STRUCTURED)
    assert (response.status_code, response.json()["code"]) == (413, "body_too_large")


async def test_other_methods_are_refused_as_problems(cashier: httpx.AsyncClient) -> None:
    response = await cashier.get("/api/events")
    assert (response.status_code, response.json()["code"]) == (405, "method_not_allowed")


async def test_broker_that_is_away_is_reported_in_bounded_time_and_does_not_hold_up_the_stop() -> None:
    broker = Broker()
    await broker.start()
    record = Record("e-1", "outlet.events.sale", b"acme/s-1/sale-1", b"{}", [])
    async with asyncio.timeout(10), open_producer(broker.bootstrap) as producer:
        publisher = Publisher(producer, deadline=0.5)
        await publisher.publish([record])
        await broker.stop()
        started = time.monotonic()
        for records in ([record], [record] * 1_000):
            with pytest.raises(Unavailable) as caught:
                await publisher.publish(records)
            assert caught.value.problem_code == "broker_unavailable"
        assert time.monotonic() - started < 2
