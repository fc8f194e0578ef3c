"""Records on Kafka that nobody can process: kept as they came on ``outlet.dead-letters``, and the consumer goes on."""

import json
import random
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

import pytest
from aiokafka import ConsumerRecord

from outlet.local import scenario
from outlet.local.client import GatewayClient
from outlet.local.stack import Stack
from outlet.local.waiting import until
from outlet.package import Package
from outlet.samples import Sale, points_of, retailer, sales
from outlet.samples.records import record
from services.common.topics import EVENTS
from tests.e2e.support import environment
from tests.e2e.topics import send, until_dead_letter

ORGANIZATION = "unreadable"
STORE = "store-1"
TOPIC = EVENTS["sale"].name
LARGEST = 1_048_150
"""Bytes of a value with which a record is just within what Kafka's clients and brokers take (1 MiB)."""

Headers = Mapping[str, bytes | None]

GOOD: Headers = {
    "ce_specversion": b"1.0",
    "ce_id": b"event-1",
    "ce_source": b"/pos/1",
    "ce_type": b"sale.created",
    "ce_time": b"2026-03-01T10:00:00Z",
    "ce_organization": ORGANIZATION.encode(),
    "ce_store": STORE.encode(),
    "content-type": b"application/json",
}
SALE = b'{"id":"sale-1"}'
LONG = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz", k=10_000))  # noqa: S311 - does not compress


@dataclass(frozen=True)
class Unreadable:
    """What is wrong with a record."""

    headers: Headers
    value: bytes | None = SALE
    code: str = "malformed_event"


RECORDS: Mapping[str, Unreadable] = {
    "no headers": Unreadable({}),
    "no id": Unreadable({name: value for name, value in GOOD.items() if name != "ce_id"}),
    "header without a value": Unreadable({**GOOD, "ce_store": None}),
    "empty header": Unreadable({**GOOD, "ce_store": b""}),
    "header that is no UTF-8": Unreadable({**GOOD, "ce_store": b"\xff\xfe"}),
    "NUL in the id": Unreadable({**GOOD, "ce_id": b"event\0"}),
    "NUL in the organization": Unreadable({**GOOD, "ce_organization": b"unreadable\0"}),
    "endless id": Unreadable({**GOOD, "ce_id": LONG.encode()}),
    "endless store": Unreadable({**GOOD, "ce_store": LONG.encode()}),
    "time that is none": Unreadable({**GOOD, "ce_time": b"yesterday"}),
    "time without a zone": Unreadable({**GOOD, "ce_time": b"2026-03-01T10:00:00"}),
    "time before the calendar": Unreadable({**GOOD, "ce_time": b"0001-01-01T00:00:00+14:00"}),
    "time after the calendar": Unreadable({**GOOD, "ce_time": b"9999-12-31T23:59:59-14:00"}),
    "no value": Unreadable(GOOD, None),
    "empty value": Unreadable(GOOD, b""),
    "broken JSON": Unreadable(GOOD, b'{"id":"sale-1"'),
    "value that is no UTF-8": Unreadable(GOOD, b'{"id":"sale-1","note":"\xff"}'),
    "JSON that is no entity": Unreadable(GOOD, b"[1,2,3]"),
    "entity without id": Unreadable(GOOD, b'{"status":"completed"}'),
    "entity with an endless id": Unreadable(GOOD, json.dumps({"id": LONG}).encode()),
    "NUL in the entity": Unreadable(GOOD, b'{"id":"sale-1","note":"\\u0000"}'),
    "lone surrogate": Unreadable(GOOD, b'{"id":"sale-1","note":"\\ud800"}'),
    "number beyond PostgreSQL's": Unreadable(GOOD, b'{"id":"sale-1","total":1e400000}'),
    "endless nesting": Unreadable(GOOD, b'{"id":"sale-1","lines":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "lone surrogate in the id": Unreadable(GOOD, b'{"id":"\\ud800"}'),
    "large value": Unreadable(GOOD, b"{" + b" " * 1_000_000),
}
TOO_LARGE: Mapping[str, Unreadable] = {
    "largest value": Unreadable(GOOD, b"{" + b" " * LARGEST),
    "largest value that a plugin cannot read": Unreadable(
        GOOD,
        b'{"id":"sale-1","status":"completed","customerId":"c","lines":0' + b" " * LARGEST + b"}",
        "plugin_raised",
    ),
    "largest header": Unreadable({**GOOD, "trace": b" " * LARGEST}, b"{"),
}
"""Records that what a dead letter adds makes larger than Kafka takes."""


@dataclass(frozen=True)
class Platform:
    """A platform on which loyalty points are active."""

    stack: Stack
    client: GatewayClient


@pytest.fixture(scope="module")
async def platform(loyalty: Package, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Platform]:
    directory = tmp_path_factory.mktemp("platform")
    async with (
        Stack(directory, environ=environment({"OUTLET_HOOK_ATTEMPTS": "1"}), durable=False) as stack,
        GatewayClient(stack.gateway_url, stack.issuer.token, ORGANIZATION) as client,
    ):
        await scenario.set_up(client, loyalty.data, [STORE])
        yield Platform(stack, client)


@pytest.mark.parametrize("fault", RECORDS)
async def test_unreadable_record_is_a_dead_letter_and_the_next_sale_counts(platform: Platform, fault: str) -> None:
    unreadable = RECORDS[fault]
    letter = await dead_letter(platform, fault, unreadable)
    assert list(letter.headers[: len(unreadable.headers)]) == list(unreadable.headers.items())
    assert letter.value == unreadable.value
    assert "outlet_omitted" not in dict(letter.headers)


@pytest.mark.parametrize("fault", TOO_LARGE)
async def test_record_too_large_for_a_dead_letter_is_kept_in_outline(platform: Platform, fault: str) -> None:
    unreadable = TOO_LARGE[fault]
    letter = await dead_letter(platform, fault, unreadable)
    headers = dict(letter.headers)
    assert GOOD.items() <= headers.items()
    assert letter.value is None
    assert headers["outlet_omitted"] == f"value of {len(unreadable.value or b'')} bytes".encode()


async def dead_letter(platform: Platform, fault: str, unreadable: Unreadable) -> ConsumerRecord[bytes, bytes | None]:
    """Send a record and, behind it, a sale that counts; the dead letter of the record."""
    bootstrap, key, sale = platform.stack.bootstrap, fault.encode(), next_sale(fault)
    position = await send(bootstrap, TOPIC, unreadable.value, key=key, headers=unreadable.headers.items())
    following = record("sale", sale, organization=ORGANIZATION)
    behind = await send(bootstrap, TOPIC, following.value, key=key, headers=following.headers)

    assert behind.partition == position.partition

    async def counts() -> bool:
        return await scenario.balance(platform.client, str(sale["customerId"]), STORE) == points_of(sale)

    letter = await until_dead_letter(bootstrap, position)
    await until(counts, within=15, what=f"the sale behind {position} counts")
    assert letter.key == key
    added = dict(letter.headers)
    assert added["outlet_code"].decode() == unreadable.code
    assert added["outlet_reason"]
    return letter


def next_sale(fault: str) -> Sale:
    """A sale that earns points, to a customer of its own."""
    name = fault.replace(" ", "-")
    earning = next(ticket for ticket in sales(retailer(), 50) if points_of(ticket) > 0)
    return {**earning, "id": f"sale-after-{name}", "customerId": f"customer-after-{name}"}
