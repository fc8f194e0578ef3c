"""What makes an event one of ours: CloudEvents' own rules, the token's organization and store, the entity's id."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
from cloudevents.core.exceptions import CloudEventValidationError
from cloudevents.core.v1.event import CloudEvent

from services.common.auth import Caller
from services.common.errors import Forbidden, TooLarge
from services.common.events import TEXT_LIMIT, DomainEvent, holds_nul
from services.common.topics import entity_of, is_reserved, topic_of
from services.gateway.envelope import Envelope, InvalidEvent, decode_json, media_type

RECORD_LIMIT = 1_000_000  # bytes; below the message.max.bytes that every broker comes with

_REQUIRED = ("id", "source", "specversion", "type")
_PLATFORM_SOURCES = "urn:outlet:"
_OURS = frozenset({*_REQUIRED, "time", "datacontenttype", "organization", "store"})
_RFC3339 = re.compile(r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})")
# Characters a CloudEvents string must not have (section 3.1): controls and surrogates.
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Record:
    """An admitted event as it goes to Kafka."""

    event_id: str
    topic: str
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


class _Entity(msgspec.Struct):
    id: str = ""


def admit(envelope: Envelope, caller: Caller) -> Record:
    """Check one event against every rule. Raises InvalidEvent, Forbidden or TooLarge; a time that is absent is now."""
    attributes = _texts(envelope.attributes)
    attributes.setdefault("time", datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"))
    _check_specification(attributes)
    event_type = attributes["type"]
    if is_reserved(event_type):
        raise InvalidEvent(
            f"Only a plugin or the platform itself may emit events of the type {event_type!r}.",
            member="type",
            code="reserved_type",
        )
    _check_caller(attributes, caller)
    data = _payload(envelope, attributes)
    entity_id = _entity_id(event_type, data) or attributes["id"]
    event = DomainEvent(
        id=attributes["id"],
        type=event_type,
        source=attributes["source"],
        time=attributes["time"],
        organization=attributes["organization"],
        store=attributes["store"],
        data=data,
    )
    key = event.record_key(entity_id).encode()
    others = [(f"ce_{name}", value.encode()) for name, value in attributes.items() if name not in _OURS]
    record = Record(event.id, topic_of(event_type), key, data, event.headers() + others)
    size = len(key) + len(data) + sum(len(name) + len(value) for name, value in record.headers)
    if size > RECORD_LIMIT:
        raise TooLarge(f"The event takes {size} bytes, more than {RECORD_LIMIT}.", code="event_too_large")
    return record


def _texts(attributes: Mapping[str, Any]) -> dict[str, str]:
    """The attributes in their string form (section 3.1), each short and free of control characters."""
    texts: dict[str, str] = {}
    for name, value in attributes.items():
        if isinstance(value, bool):
            text = str(value).lower()
        elif isinstance(value, str | int):
            text = str(value)
        else:
            raise InvalidEvent(f"The attribute {name!r} must be a string, an integer or a boolean.", member=name)
        if name in _OURS and not isinstance(value, str):
            raise InvalidEvent(f"The attribute {name!r} must be a string.", member=name)
        _check_text(name, text)
        texts[name] = text
    return texts


def _check_text(name: str, text: str) -> None:
    if _FORBIDDEN.search(text) or _FORBIDDEN.search(name):
        raise InvalidEvent(f"{name!r} must not have control characters.", member=name)
    if len(text.encode()) > TEXT_LIMIT:
        raise InvalidEvent(f"{name!r} must be at most {TEXT_LIMIT} bytes.", member=name)


def _check_specification(attributes: dict[str, str]) -> None:
    """CloudEvents' own rules: the library's, and the two it is lenient about (absent attributes, the form of time)."""
    for name in _REQUIRED:
        if name not in attributes:
            raise InvalidEvent(f"The attribute {name!r} is missing.", member=name)
    if attributes["source"].lower().startswith(_PLATFORM_SOURCES):
        raise InvalidEvent("A source that begins with urn:outlet: is the platform's own.", member="source")
    try:
        CloudEvent({**attributes, "time": _time(attributes["time"])})
    except CloudEventValidationError as error:
        member, reasons = next(iter(error.errors.items()))
        raise InvalidEvent(str(reasons[0]), member=member) from None


def _time(text: str) -> datetime:
    refusal = InvalidEvent("The attribute 'time' must be a time of RFC 3339.", member="time")
    if not _RFC3339.fullmatch(text):
        raise refusal
    try:
        # Reckoning in UTC refuses a time whose offset leads out of the calendar.
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise refusal from None


def _check_caller(attributes: Mapping[str, str], caller: Caller) -> None:
    for name in ("organization", "store"):
        if not attributes.get(name):
            raise InvalidEvent(f"The attribute {name!r} is missing.", member=name, code=f"missing_{name}")
    if attributes["organization"] != caller.organization:
        raise Forbidden("The event is of another organization than the token.", code="wrong_organization")
    caller.choose_store(attributes["store"])


def _payload(envelope: Envelope, attributes: Mapping[str, str]) -> bytes:
    content_type = media_type(attributes.get("datacontenttype", "application/json"))
    if content_type not in ("application/json", "text/json") and not content_type.endswith("+json"):
        raise InvalidEvent(f"The payload must be JSON, not {content_type!r}.", member="datacontenttype")
    if envelope.data is None:
        return b"null"
    decode_json(envelope.data, Any, "data")
    return envelope.data


def _entity_id(event_type: str, data: bytes) -> str | None:
    """The id that keeps an entity's events in order; None for a type whose payload the platform does not know."""
    if entity_of(event_type) is None:
        return None
    entity_id: str = decode_json(data, _Entity, "data.id").id
    if not entity_id:
        raise InvalidEvent(f"The payload of {event_type!r} has no id.", member="data.id")
    _check_text("data.id", entity_id)
    if holds_nul(data):
        raise InvalidEvent(f"The payload of {event_type!r} must not have NUL characters.", member="data")
    return entity_id
