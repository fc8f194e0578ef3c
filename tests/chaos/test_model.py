"""A model that cannot see a lost or doubled effect is worthless: tampered findings must not pass."""

import copy
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from outlet.samples import Sale, expected_points, points_of, retailer, sales
from outlet.samples.records import record
from tests.chaos.fate import Fate, fate
from tests.chaos.findings import Findings
from tests.chaos.model import TICK_LATE, Input, Verdict, judge

BEGAN = datetime(2026, 1, 5, 9, 0, 20, tzinfo=UTC)
TICKS = [datetime(2026, 1, 5, 9, minute, tzinfo=UTC) for minute in range(1, 7)]
SALES: dict[str, Sale] = {
    record("sale", sale, organization="chaos").id: sale for sale in sales(retailer(seed=3), 300, seed=3)
}
SENT = Input(sales=SALES, settings=[1, 2, 3], scheduled_since=BEGAN, looked_at=TICKS[-1] + TICK_LATE)
EARNING = next(event for event, sale in SALES.items() if points_of(sale) > 0)


def of_fate(wanted: Fate) -> str:
    """An event that the failing plugin is to end like this."""
    return next(event for event in SALES if fate(event) == wanted)


def flawless() -> Findings:
    """What must be found when nothing is lost or doubled. Of the events that may fail, some did and some did not."""
    moving = [sale["id"] for sale in SALES.values() if points_of(sale)]
    either = [event for event in SALES if fate(event) == "either"]
    letters = [event for event in SALES if fate(event) == "dead letter"] + either[::2]
    return Findings(
        movements=Counter(moving),
        balances=expected_points(SALES.values()),
        announced={sale: {f"event of {sale}"} for sale in moving},
        calls=Counter(list(SALES)),
        keys={event: {f"key of {event}"} for event in SALES},
        effects=Counter(event for event in SALES if event not in letters),
        letters=Counter(letters),
        ticks=Counter(TICKS),
        settings=Counter([1, 2, 3]),
    )


def test_flawless_findings_pass() -> None:
    assert judge(SENT, flawless()) == Verdict()


def test_repetitions_that_everybody_recognises_pass() -> None:
    found = flawless()
    found.letters[of_fate("dead letter")] += 3
    found.settings[2] += 1
    assert judge(SENT, found) == Verdict()


Tampering = Callable[[Findings], None]


def lose(what: str, key: object) -> Tampering:
    return lambda found: getattr(found, what).pop(key)


def double(what: str, key: object) -> Tampering:
    return lambda found: getattr(found, what).update([key])


def set_balance(change: int) -> Tampering:
    customer = str(SALES[EARNING]["customerId"])

    def tamper(found: Findings) -> None:
        found.balances[customer] = found.balances.get(customer, 0) + change

    return tamper


SALE = SALES[EARNING]["id"]
LOSSES = {
    "movement": lose("movements", SALE),
    "announcement": lose("announced", SALE),
    "call": lose("calls", EARNING),
    "request": lose("keys", EARNING),
    "effect": lose("effects", of_fate("effect")),
    "dead letter": lose("letters", of_fate("dead letter")),
    "point": set_balance(-1),
    "tick in the middle": lose("ticks", TICKS[3]),
    "last tick": lose("ticks", TICKS[-1]),
    "setting": lose("settings", 2),
}
DOUBLES = {
    "movement": double("movements", SALE),
    "announcement": lambda found: found.announced[SALE].add("another event"),
    "call": double("calls", EARNING),
    "request under another key": lambda found: found.keys[EARNING].add("another key"),
    "effect": double("effects", of_fate("effect")),
    "effect that was to fail": double("effects", of_fate("dead letter")),
    "dead letter after an effect": double("letters", of_fate("effect")),
    "point": set_balance(+1),
    "tick": double("ticks", TICKS[3]),
    "tick before its time": double("ticks", TICKS[-1] + timedelta(minutes=1)),
    "tick before the activation": double("ticks", TICKS[0] - timedelta(minutes=1)),
    "effect of nothing sent": double("effects", "never sent"),
    "movement of nothing sent": double("movements", "never sent"),
    "movement of a sale that earns nothing": double(
        "movements", next(sale["id"] for sale in SALES.values() if points_of(sale) == 0)
    ),
}


@pytest.mark.parametrize("tamper", LOSSES.values(), ids=LOSSES)
def test_one_lost_effect_is_seen(tamper: Tampering) -> None:
    found = flawless()
    tamper(found)
    verdict = judge(SENT, found)
    assert (verdict.lost, verdict.doubled) == (1, 0)


@pytest.mark.parametrize("tamper", DOUBLES.values(), ids=DOUBLES)
def test_one_doubled_effect_is_seen(tamper: Tampering) -> None:
    found = flawless()
    tamper(found)
    verdict = judge(SENT, found)
    assert (verdict.lost, verdict.doubled) == (0, 1)


@pytest.mark.parametrize("ends_as", ["effects", "letters"])
def test_event_that_may_fail_ends_as_exactly_one_of_both(ends_as: str) -> None:
    event = of_fate("either")
    found = flawless()
    found.effects.pop(event, None)
    found.letters.pop(event, None)
    assert (lost := judge(SENT, found)).lost == 1
    assert [difference.event for difference in lost.differences] == [event]
    getattr(found, ends_as)[event] += 1
    assert judge(SENT, found) == Verdict()
    other = "letters" if ends_as == "effects" else "effects"
    getattr(found, other)[event] += 1
    assert judge(SENT, found).doubled == 1


def test_sale_that_is_lost_altogether_is_seen_in_each_of_its_effects() -> None:
    found = flawless()
    for effects, key in ((found.movements, SALE), (found.calls, EARNING), (found.effects, EARNING)):
        effects.pop(key, None)
    found.announced.pop(SALE)
    found.keys.pop(EARNING)
    found.letters.pop(EARNING, None)
    assert {difference.event for difference in judge(SENT, found).differences} == {EARNING}
    assert judge(SENT, found).lost == 5


def test_findings_of_another_run_do_not_pass() -> None:
    """As many rows as there should be, but not those."""
    found = copy.deepcopy(flawless())
    events = list(found.calls)
    found.calls = Counter([*events[1:], events[1]])
    verdict = judge(SENT, found)
    assert (verdict.lost, verdict.doubled) == (1, 1)
