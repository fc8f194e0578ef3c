"""JSON documents of plugins, kept exactly: a number with a fraction is a Decimal on the way in and on the way out."""

import json
from decimal import Decimal
from typing import Any

import msgspec

from outlet._rules.refusal import ApiRefusal

MAX_DEPTH = 32
MAX_EXPONENT = 1_000
LEAST, MOST = -(2**63), 2**63 - 1

_encoder = msgspec.json.Encoder(decimal_format="number")


def encode_document(value: Any, *, limit: int) -> str:
    """``value`` as JSON text of at most ``limit`` bytes. Raises ApiRefusal ``invalid_value`` or ``value_too_large``."""
    try:
        text = _encoder.encode(_exact(value, MAX_DEPTH))
    except (TypeError, ValueError, OverflowError) as error:
        raise ApiRefusal("invalid_value", f"a value is JSON: {error}") from error
    if len(text) > limit:
        raise ApiRefusal("value_too_large", f"the value takes {len(text)} bytes as JSON; at most {limit} are allowed")
    return text.decode()


def decode_document(text: str) -> Any:
    """The value of JSON text that PostgreSQL returned."""
    return json.loads(text, parse_float=Decimal, parse_int=_whole)


def _whole(digits: str) -> int | Decimal:
    """A whole number as its author sent it; one of more than 64 bits travels as a Decimal."""
    number = Decimal(digits)
    return int(number) if LEAST <= number <= MOST else number


def _exact(value: Any, depth: int) -> Any:
    if depth == 0:
        raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, float | Decimal):
        return _number(value)
    if isinstance(value, dict):
        return {_key(key): _exact(item, depth - 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_exact(item, depth - 1) for item in value]
    raise TypeError(f"{type(value).__name__} has no place in it")


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise TypeError(f"the key {key!r:.40} is no text")
    return _text(key)


def _text(text: str) -> str:
    if "\0" in text:
        raise ValueError("the character NUL cannot be stored")
    return text


def _number(value: float | Decimal) -> Decimal:
    number = Decimal(repr(value)) if isinstance(value, float) else value
    if not number.is_finite() or abs(number.adjusted()) > MAX_EXPONENT:
        raise ValueError(f"the number {number:.20} is not finite, or beyond {MAX_EXPONENT} digits")
    return number
