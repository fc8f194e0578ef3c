"""What was sent, and when the platform was at work again."""

import itertools

import pytest

from outlet.samples import retailer, sales
from outlet.samples.records import record
from tests.chaos import table
from tests.chaos.campaign import Strike
from tests.chaos.ledger import Entry, Ledger, Way

SALES = sales(retailer(), 20)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that shows 1, 2, 3 ... each time that it is looked at."""
    times = itertools.count(1)
    monkeypatch.setattr("tests.chaos.ledger.time.monotonic", lambda: float(next(times)))


def entry(number: int, way: Way = "kafka") -> Entry:
    return Entry(SALES[number], record("sale", SALES[number], organization="chaos"), way)


def test_platform_has_recovered_once_each_partition_and_the_gateway_have() -> None:
    ledger = Ledger()
    before, first, second, through = entry(0), entry(1), entry(2), entry(3, "gateway")
    ledger.send(before)
    ledger.acknowledge(before, 0)
    struck_at = 2.5
    for sent, partition in ((first, 0), (second, 1), (through, None)):
        ledger.send(sent)
        ledger.acknowledge(sent, partition)
    ledger.process([before.record.id, first.record.id, second.record.id])
    assert ledger.recovered_at(struck_at, [0, 1]) is None
    ledger.process([through.record.id])
    assert ledger.recovered_at(struck_at, [0, 1]) == through.processed_at
    assert ledger.recovered_at(struck_at, [0, 1, 2]) is None


def test_what_was_sent_before_the_fault_is_no_recovery() -> None:
    ledger = Ledger()
    for number, way in enumerate(("kafka", "gateway")):
        sent = entry(number, "kafka" if way == "kafka" else "gateway")
        ledger.send(sent)
        ledger.acknowledge(sent, 0 if way == "kafka" else None)
        ledger.process([sent.record.id])
    assert ledger.recovered_at(100.0, [0]) is None


def test_repeated_acknowledgement_counts_as_delivery_alone() -> None:
    ledger, sent = Ledger(), entry(0)
    ledger.send(sent)
    ledger.acknowledge(sent, 0)
    ledger.process([sent.record.id])
    ledger.acknowledge(sent, 0)
    assert (sent.deliveries, ledger.waiting, ledger.processed) == (2, set(), 1)


def test_sale_belongs_to_the_fault_that_it_met() -> None:
    strikes = [Strike("first", struck_at=10, ended_at=20), Strike("second", struck_at=30, ended_at=40)]

    def met(sent_at: float, processed_at: float | None) -> str:
        sent = entry(0)
        sent.sent_at, sent.processed_at = sent_at, processed_at
        return table.struck(sent, strikes)

    assert met(15, 16) == "first"
    assert met(5, 12) == "first"
    assert met(25, None) == "second"
    assert met(5, 6) == met(25, 26) == met(45, 46) == table.BETWEEN
