"""Where an event comes from that waits for a hook: from Kafka, or from the attempt ledger."""

from typing import Protocol

from opentelemetry.trace import SpanContext

from services.common.events import DomainEvent
from services.runtime.commerce.personal_data import Hidden
from services.runtime.delivery.ledger import LeasedEntry


class Origin(Protocol):
    """An event that is owed to hooks."""

    @property
    def event(self) -> DomainEvent:
        """The whole event."""

    @property
    def key(self) -> bytes:
        """The record key; empty for a record without one."""

    @property
    def position(self) -> str:
        """Where on Kafka it came from: ``topic/partition/offset``."""

    @property
    def entry(self) -> LeasedEntry | None:
        """Its entry in the ledger, if it comes from there."""

    @property
    def sampled(self) -> bool:
        """Whether what is done for it is recorded as spans."""

    @property
    def trace(self) -> SpanContext | None:
        """What those are children of, and what goes along with all that it causes."""

    def view(self, hidden: Hidden) -> DomainEvent:
        """The event without the personal data of ``hidden`` people."""

    def ended(self) -> None:
        """A hook has had its turn, and what it failed is kept."""

    def kept(self) -> None:
        """The ledger knows that the attempt failed."""

    def give_back(self) -> None:
        """A hook will not get its turn now."""
