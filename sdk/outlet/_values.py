"""Arguments and answers of API calls on the wire: msgpack in which decimals and moments keep their type.

A Decimal is extension type 1 with its text; an aware datetime is msgpack's own timestamp and comes back in UTC.
"""

from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec
from msgspec.msgpack import Ext

DECIMAL = 1
MAX_DIGITS = 1_000

_PLAIN = frozenset({str, int, bool, type(None), bytes, float})


class ValueRefused(ValueError):
    """Something that cannot travel in an API call; the message says what."""


def encode(value: Any) -> bytes:
    """``value`` (JSON values, bytes, Decimal, aware datetime) as msgpack. Raises :class:`ValueRefused`."""
    try:
        return _encoder.encode(_wire(value))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ValueRefused(str(error)) from error


def decode(data: bytes) -> Any:
    """The value in ``data``, whoever sent it. Raises :class:`ValueRefused`."""
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError, InvalidOperation) as error:
        raise ValueRefused(f"not a value of an API call: {error}") from error


def _wire(value: Any) -> Any:
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is dict:
        return {key: _wire(item) for key, item in value.items()}
    if kind in (list, tuple):
        return [_wire(item) for item in value]
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise ValueRefused(f"{value} is not a finite number")
        return Ext(DECIMAL, str(value).encode())
    if isinstance(value, datetime) and value.tzinfo is None:
        raise ValueRefused(f"{value!r} has no time zone: use datetime.now(UTC)")
    return value


def _read_extension(code: int, data: memoryview) -> Decimal:
    if code != DECIMAL or len(data) > MAX_DIGITS:
        raise ValueRefused(f"extension type {code} with {len(data)} bytes")
    number = Decimal(str(data, "ascii"))
    if not number.is_finite():
        raise ValueRefused(f"{number} is not a finite number")
    return number


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(ext_hook=_read_extension)
