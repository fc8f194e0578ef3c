"""What came from Kafka and is not done yet."""

from aiokafka import ConsumerRecord
from opentelemetry.trace import Span, SpanContext

from services.common.directory import Installation
from services.common.events import DomainEvent
from services.common.tracing import failed, of_record
from services.runtime.commerce.personal_data import Hidden, hidden_from
from services.runtime.commerce.redaction import without
from services.runtime.delivery.offsets import PartitionOffsets


class Arrival:
    """A record and the event read from it. It is finished once every hook that is owed the event has ended.

    ``seen_before``: another worker may have had it, or this one before it was assigned its partition again. ``span``
    ends with it; None: nothing is recorded of it.
    """

    __slots__ = ("_offsets", "_owed", "_span", "_views", "event", "key", "record", "sampled", "seen_before")

    def __init__(
        self,
        record: "ConsumerRecord[bytes, bytes]",
        event: DomainEvent,
        offsets: PartitionOffsets,
        *,
        seen_before: bool = True,
        span: Span | None = None,
    ) -> None:
        self.record = record
        self.key: bytes = record.key or b""
        self.event = event
        self.seen_before = seen_before
        self.sampled = span is not None
        self._span = span
        self._offsets = offsets
        self._owed = 1  # to whoever is still looking for hooks
        self._views: dict[Hidden, DomainEvent] | None = None

    def owe(self, count: int) -> None:
        """So many more hooks are to end."""
        self._owed += count

    def ended(self) -> None:
        """A hook has ended, or the search for hooks."""
        self._owed -= 1
        if self._owed == 0:
            self._offsets.finish(self.record.offset)
            if self._span is not None:
                self._span.end()

    def refused(self, code: str) -> None:
        """It is a dead letter, and goes to no hook."""
        if self._span is not None:
            failed(self._span, code)
            self._span.end()

    @property
    def trace(self) -> SpanContext | None:
        """The context of its own span, or else of whoever sent it."""
        return of_record(self.record.headers) if self._span is None else self._span.get_span_context()

    @property
    def position(self) -> str:
        """Where the record is: ``topic/partition/offset``."""
        return f"{self.record.topic}/{self.record.partition}/{self.record.offset}"

    @property
    def entry(self) -> None:
        """It comes from Kafka."""

    def kept(self) -> None:
        """A failed attempt is in the ledger, and this record has nothing more to do with it."""

    def give_back(self) -> None:
        """The hook will not run: whoever was to is not there any more."""
        self.ended()

    def seen_by(self, installation: Installation) -> DomainEvent:
        """The event without the personal data that the installation was not granted."""
        return self.view(hidden_from(installation.grants))

    def view(self, hidden: Hidden) -> DomainEvent:
        """The event without the personal data of ``hidden`` people; made once for all alike."""
        if not hidden:
            return self.event
        if self._views is None:
            self._views = {}
        view = self._views.get(hidden)
        if view is None:
            view = self._views[hidden] = without(hidden, self.event)
        return view
