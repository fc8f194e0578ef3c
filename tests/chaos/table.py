"""A run as a table, and as one line for machines."""

import json
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from tests.chaos.campaign import Outcome, Strike
from tests.chaos.ledger import Entry

HEAD = f"{'fault':<30} | {'injected':>8} | {'events':>6} | {'lost':>4} | {'doubled':>7} | {'recovery s':>11}"
BETWEEN = "between the faults"
NO_SALE = "of no one sale"
SHOWN = 20


def struck(entry: Entry, strikes: Sequence[Strike]) -> str:
    """The fault that a sale met: it was sent while it lasted, or before it and not processed yet when it struck."""
    for strike in strikes:
        if entry.sent_at <= strike.ended_at:
            waited = entry.processed_at is None or entry.processed_at >= strike.struck_at
            return strike.fault if entry.sent_at >= strike.struck_at or waited else BETWEEN
    return BETWEEN


def lines(outcome: Outcome) -> Iterator[str]:
    """The table, and under it what was lost and doubled, if anything."""
    met = {event: struck(entry, outcome.strikes) for event, entry in outcome.ledger.entries.items()}
    events = Counter(met.values())
    wrong = Counter(
        (NO_SALE if found.event is None else met[found.event], found.kind) for found in outcome.verdict.differences
    )
    yield HEAD
    yield "-" * len(HEAD)
    for fault in sorted({strike.fault for strike in outcome.strikes}):
        strikes = [strike for strike in outcome.strikes if strike.fault == fault]
        yield _line(fault, len(strikes), events[fault], wrong[fault, "lost"], wrong[fault, "doubled"], _times(strikes))
    quiet = [entry for event, entry in outcome.ledger.entries.items() if met[event] == BETWEEN]
    for rest, beside in ((BETWEEN, _usual(quiet)), (NO_SALE, "")):
        yield _line(rest, None, events[rest], wrong[rest, "lost"], wrong[rest, "doubled"], beside)
    yield _waits(outcome, met)
    yield from _beside(outcome)
    differences = outcome.verdict.differences
    yield from map(str, differences[:SHOWN])
    if len(differences) > SHOWN:
        yield f"... and {len(differences) - SHOWN} more"


def total(outcome: Outcome, *, seed: int) -> str:
    """``CHAOS {json}``."""
    figures = {
        "faults": len(outcome.strikes),
        "events": len(outcome.ledger.entries),
        "lost": outcome.verdict.lost,
        "doubled": outcome.verdict.doubled,
        "seed": seed,
        "stalled": sum(strike.stalled for strike in outcome.strikes),
        "not_recovered": sum(strike.recovered_at is None for strike in outcome.strikes),
    }
    return f"CHAOS {json.dumps(figures)}"


def holds(outcome: Outcome) -> bool:
    """Whether nothing was lost or doubled, and the platform recovered from every fault and bore those it must."""
    bad = outcome.verdict.differences or any(
        strike.stalled or strike.recovered_at is None for strike in outcome.strikes
    )
    return not bad


def _line(fault: str, injected: int | None, events: int, lost: int, doubled: int, recovery: str) -> str:
    count = "" if injected is None else injected
    return f"{fault:<30} | {count:>8} | {events:>6} | {lost:>4} | {doubled:>7} | {recovery:>11}"


def _times(strikes: Iterable[Strike]) -> str:
    """The shortest and the longest recovery, in seconds."""
    times = [strike.recovery for strike in strikes]
    known = sorted(taken for taken in times if taken is not None)
    shown = [f"{taken:.1f}" for taken in dict.fromkeys((known[0], known[-1]))] if known else []
    return " to ".join(shown) + (" never" if len(known) < len(times) else "")


def _usual(quiet: Iterable[Entry]) -> str:
    """How long a sale that met no fault takes from its sending to its effect, at the median."""
    times = [entry.processed_at - entry.sent_at for entry in quiet if entry.processed_at is not None]
    return f"({statistics.median(times):.1f})" if times else ""


def _waits(outcome: Outcome, met: Mapping[str, str]) -> str:
    """The longest time from sending a sale to its effect, by the fault that it met; an outage is part of it."""
    longest: dict[str, float] = {}
    for event, entry in outcome.ledger.entries.items():
        if entry.processed_at is not None:
            longest[met[event]] = max(longest.get(met[event], 0.0), entry.processed_at - entry.sent_at)
    return "longest wait of a sale: " + ", ".join(f"{fault} {seconds:.1f} s" for fault, seconds in longest.items())


def _beside(outcome: Outcome) -> Iterator[str]:
    """What at-least-once delivery repeated, which nobody may take for an effect; and failures that nobody deserved."""
    found, ledger = outcome.findings, outcome.ledger
    deliveries = sum(entry.deliveries for entry in ledger.entries.values())
    yield (
        f"repeated, and recognised: {deliveries - len(ledger.entries)} deliveries of sales, "
        f"{found.requests_repeated} requests to the receiver (same key), "
        f"{found.announcements_repeated} emitted events (same id), {found.letters_repeated} dead letters"
    )
    yield f"the failing plugin: {sum(found.effects.values())} effects, {len(found.letters)} events are dead letters"
    for letter, count in found.other_letters.items():
        yield f"dead letters of others: {count} x {letter}"
