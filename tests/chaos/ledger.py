"""What was sent, when, and when it was seen to be processed."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from outlet.samples import Sale
from outlet.samples.records import Record

Way = Literal["kafka", "gateway"]


@dataclass(slots=True)
class Entry:
    """One sale on its way. Times are of `time.monotonic`; ``deliveries`` counts those that were acknowledged."""

    sale: Sale
    record: Record
    way: Way
    sent_at: float = 0.0
    acknowledged_at: float | None = None
    processed_at: float | None = None
    deliveries: int = 0
    partition: int | None = None
    """Where Kafka put it; None for what the gateway published."""


@dataclass(slots=True)
class Ledger:
    """All sales by event id, in the order in which they were first sent."""

    entries: dict[str, Entry] = field(default_factory=dict)
    waiting: set[str] = field(default_factory=set)
    """Acknowledged, and not seen to be processed yet."""
    processed: int = 0

    def send(self, entry: Entry) -> None:
        """The sale is about to be sent for the first time."""
        entry.sent_at = time.monotonic()
        self.entries[entry.record.id] = entry

    def acknowledge(self, entry: Entry, partition: int | None = None) -> None:
        """The platform has taken responsibility for a delivery of it."""
        entry.deliveries += 1
        if entry.acknowledged_at is None:
            entry.acknowledged_at = time.monotonic()
            entry.partition = partition
            self.waiting.add(entry.record.id)

    def process(self, ids: Iterable[str]) -> None:
        """These were seen to have had their effect."""
        now = time.monotonic()
        for event in ids:
            if event in self.waiting:
                self.waiting.discard(event)
                self.entries[event].processed_at = now
                self.processed += 1

    def latest(self, count: int) -> list[Entry]:
        """The acknowledged ones among the last so many that were sent."""
        return [entry for entry in list(self.entries.values())[-count:] if entry.acknowledged_at is not None]

    def recovered_at(self, struck_at: float, partitions: Iterable[int]) -> float | None:
        """When the platform was seen to process again what was sent after ``struck_at``, by every way.

        That is, from each of the partitions and through the gateway. None while it does not.
        """
        first: dict[int | None, float] = {}
        for entry in reversed(self.entries.values()):
            if entry.sent_at < struck_at:
                break
            if entry.processed_at is not None:
                place = entry.partition if entry.way == "kafka" else None
                first[place] = min(first.get(place, entry.processed_at), entry.processed_at)
        wanted = {*partitions, None}
        return max(first.values()) if wanted <= first.keys() else None
