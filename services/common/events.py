"""The event envelope: CloudEvents 1.0 in Kafka's binary content mode.

Context attributes are record headers with the prefix ``ce_`` (CloudEvents Kafka protocol binding 1.0.2, section 3.2),
the record's value is the entity as JSON. A reader routes on headers and parses a payload only when it needs to.
"""

import re
from collections.abc import Iterable
from functools import lru_cache

from outlet._calls import HookCall

SPEC_VERSION = "1.0"
_SPEC_VERSION = SPEC_VERSION.encode()
CONTENT_TYPE = "application/json"
ORGANIZATION_WIDE = "*"
"""The store of an event that is not about one store. Heard by installations of the whole organization."""
TEXT_LIMIT = 512
"""Bytes of an attribute or an entity's id: they become keys of database indexes, which have a limit of their own."""

_OWN_HEADERS = 8
"""How many headers :meth:`DomainEvent.headers` gives; of a record with more, but for its trace, some are not ours."""

_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")  # the escape, not an escaped backslash before "u0000"
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")  # what a CloudEvents string must not have (section 3.1)


class MalformedEvent(ValueError):
    """A record that is no CloudEvent of ours; the message names the header at fault."""


class DomainEvent(HookCall, frozen=True):
    """One event of one store. ``time`` is RFC 3339; ``data`` is the entity as JSON bytes, not parsed.

    It goes to a plugin's process as it is, and so has the members of what goes there.
    """

    def headers(self) -> list[tuple[str, bytes]]:
        """The record headers of this event."""
        return [
            ("ce_specversion", SPEC_VERSION.encode()),
            ("ce_id", self.id.encode()),
            ("ce_type", self.type.encode()),
            ("ce_source", self.source.encode()),
            ("ce_time", self.time.encode()),
            ("ce_organization", self.organization.encode()),
            ("ce_store", self.store.encode()),
            ("content-type", CONTENT_TYPE.encode()),
        ]

    def record_key(self, entity_id: str) -> str:
        """The record key that keeps the events of one entity in order."""
        return f"{self.organization}/{self.store}/{entity_id}"


def read_event(headers: Iterable[tuple[str, bytes]], value: bytes | None) -> DomainEvent:
    """The event in a record. Raises :class:`MalformedEvent`."""
    found = dict(headers)
    if found.get("ce_specversion") != _SPEC_VERSION:
        raise MalformedEvent(f"header ce_specversion must be {SPEC_VERSION}, not {found.get('ce_specversion')!r}")
    if value is None:
        raise MalformedEvent("the record has no value")
    try:
        # What differs from event to event is read each time; of the rest there are few, and they are remembered.
        event = DomainEvent(
            _attribute("ce_id", found["ce_id"]),
            _known_attribute("ce_type", found["ce_type"]),
            _known_attribute("ce_source", found["ce_source"]),
            _attribute("ce_time", found["ce_time"]),
            _known_attribute("ce_organization", found["ce_organization"]),
            _known_attribute("ce_store", found["ce_store"]),
            value,
        )
    except KeyError as error:
        raise MalformedEvent(f"header {error.args[0]} is missing") from None
    if len(found) - ("traceparent" in found) - ("tracestate" in found) > _OWN_HEADERS:
        for name, content in found.items():
            if name.startswith("ce_"):
                _attribute(name, content)
    if not (event.id and event.type and event.source and event.organization and event.store):
        empty = next(name for name in ("id", "type", "source", "organization", "store") if not getattr(event, name))
        raise MalformedEvent(f"header ce_{empty} is empty")
    return event


def holds_nul(data: bytes) -> bool:
    """Whether a JSON text has a NUL character in one of its strings, which PostgreSQL cannot hold."""
    return b"\\u0000" in data and _NUL.search(data) is not None


def _attribute(name: str, content: bytes | None) -> str:
    if content is None:
        raise MalformedEvent(f"header {name} is missing")
    if len(content) > TEXT_LIMIT:
        raise MalformedEvent(f"header {name} has {len(content)} bytes, more than {TEXT_LIMIT}")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise MalformedEvent(f"header {name} is not UTF-8: {error}") from error
    if not text.isprintable() and _CONTROL.search(text):
        raise MalformedEvent(f"header {name} has control characters")
    return text


_known_attribute = lru_cache(maxsize=4_096)(_attribute)
