"""Documents become CloudEvents in Kafka's binary mode, and arrive where the broker says they are."""

import json

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from outlet.samples import retailer, sales
from outlet.samples.records import publish, record


def test_a_document_becomes_a_binary_cloudevent() -> None:
    sale = sales(retailer(), 1)[0]
    made = record("sale", sale, organization="acme")
    assert made.topic == "outlet.events.sale"
    assert made.key.decode() == f"acme/{sale['storeId']}/{sale['id']}"
    assert json.loads(made.value) == sale
    headers = {name: value.decode() for name, value in made.headers}
    assert headers == {
        "ce_specversion": "1.0",
        "ce_id": made.id,
        "ce_source": f"/organizations/acme/stores/{sale['storeId']}/pos",
        "ce_type": "sale.created",
        "ce_time": sale["createdAt"],
        "ce_organization": "acme",
        "ce_store": sale["storeId"],
        "content-type": "application/json",
    }


def test_the_same_document_is_the_same_event_and_a_changed_one_another() -> None:
    sale = sales(retailer(), 1)[0]
    made = record("sale", sale, organization="acme")
    assert record("sale", sale, organization="acme").id == made.id
    assert record("sale", {**sale, "status": "voided"}, organization="acme").id != made.id
    assert record("sale", sale, organization="acme", action="updated").id != made.id
    assert record("sale", sale, organization="other").id != made.id


def test_entities_without_a_store_of_their_own_are_told_one() -> None:
    product = retailer().products[0]
    assert record("product", product, organization="acme", store="store-2").key.startswith(b"acme/store-2/")


async def test_published_records_are_read_back_where_they_were_put(kafka_bootstrap: str) -> None:
    records = [record("sale", sale, organization="acme") for sale in sales(retailer(), 50)]
    positions = await publish(kafka_bootstrap, records)
    partitions = {TopicPartition(position.topic, position.partition) for position in positions}
    async with AIOKafkaConsumer(
        bootstrap_servers=kafka_bootstrap, enable_auto_commit=False, auto_offset_reset="earliest"
    ) as consumer:
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        found: dict[tuple[int, int], ConsumerRecord[bytes, bytes]] = {}
        while not found.keys() >= {(position.partition, position.offset) for position in positions}:
            for batch in (await consumer.getmany(timeout_ms=1000)).values():
                found |= {(item.partition, item.offset): item for item in batch}
    for sent, position in zip(records, positions, strict=True):
        item = found[position.partition, position.offset]
        assert (item.key, item.value, tuple(item.headers)) == (sent.key, sent.value, sent.headers)
