"""CloudEvents 1.0 as they come over HTTP: structured, batched or binary (HTTP protocol binding 1.0.2, section 3).

Only the envelope is opened here. The payload stays the bytes that were sent: parsing it and writing it again would
change numbers such as ``1.10``.
"""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import msgspec

from services.common.errors import BadRequest, OutletError, TooLarge

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
MAX_BATCH = 1_000

_HEADER_PREFIX = "ce-"
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')


class UnsupportedMediaType(OutletError):
    status = 415
    code = "unsupported_media_type"
    remedy = f"Send {STRUCTURED}, {BATCH}, or JSON with ce- headers."


class InvalidEvent(BadRequest):
    """A CloudEvent that breaks a rule; ``member`` names the attribute or payload member at fault."""

    code = "invalid_event"

    def __init__(self, detail: str, *, member: str, code: str | None = None) -> None:
        super().__init__(detail, code=code, member=member)


@dataclass(frozen=True, slots=True)
class Envelope:
    """One event as sent: its context attributes, not yet judged, and its payload as JSON bytes (None: no payload)."""

    attributes: dict[str, Any]
    data: bytes | None


def media_type(content_type: str) -> str:
    """``application/json`` for ``Application/JSON; charset=utf-8``."""
    return content_type.partition(";")[0].strip().lower()


def read_batch(body: bytes) -> list[bytes]:
    """The events of a batch, each still encoded. Raises InvalidEvent, or TooLarge for more than ``MAX_BATCH``."""
    events = decode_json(body, list[msgspec.Raw], "body")
    if len(events) > MAX_BATCH:
        raise TooLarge(f"A batch has at most {MAX_BATCH} events, this one has {len(events)}.", code="batch_too_large")
    return [bytes(event) for event in events]


def read_structured(body: bytes) -> Envelope:
    """One event of the JSON event format. Raises InvalidEvent."""
    members = decode_json(body, dict[str, msgspec.Raw], "body")
    data, encoded = members.pop("data", None), members.pop("data_base64", None)
    if data is not None and encoded is not None:
        raise InvalidEvent("An event has data or data_base64, not both.", member="data_base64")
    attributes = {name: decode_json(value, Any, name) for name, value in members.items()}
    return Envelope(
        # A member that is null is an attribute that is not set (JSON event format, section 2.2).
        {name: value for name, value in attributes.items() if value is not None},
        bytes(data) if data is not None else _decode_base64(encoded),
    )


def read_binary(headers: Sequence[tuple[str, str]], body: bytes) -> Envelope:
    """One event with its attributes in ``ce-`` headers. Raises InvalidEvent."""
    attributes: dict[str, Any] = {}
    for header, value in headers:
        name = header.lower().removeprefix(_HEADER_PREFIX)
        if header.lower() == "content-type":
            attributes["datacontenttype"] = value
        elif name != header.lower():
            if name in attributes:
                raise InvalidEvent(f"The header ce-{name} was sent twice.", member=name)
            attributes[name] = _decode_header(name, value)
    return Envelope(attributes, body or None)


def decode_json(content: bytes | msgspec.Raw, shape: Any, member: str) -> Any:
    """JSON (RFC 8259) as ``shape``. Raises InvalidEvent, which names ``member``."""
    try:
        return msgspec.json.decode(content, type=shape)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise InvalidEvent(f"{member!r} cannot be read: {error}", member=member) from None


def _decode_base64(encoded: msgspec.Raw | None) -> bytes | None:
    if encoded is None:
        return None
    try:
        return base64.b64decode(decode_json(encoded, str, "data_base64"), validate=True)
    except ValueError:  # binascii.Error is one of these
        raise InvalidEvent("data_base64 must be a string in Base64.", member="data_base64") from None


def _decode_header(name: str, value: str) -> str:
    """Undo quotes (of senders before 1.0.2) and one round of percent-encoding (section 3.1.3.2)."""
    quoted = _QUOTED.fullmatch(value)
    text = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else value
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise InvalidEvent(f"The header ce-{name} is not percent-encoded UTF-8.", member=name) from None
