"""JSON as plugins meet it: a number with a fraction is a Decimal, so that an amount never passes through a float."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

_decoder = msgspec.json.Decoder(float_hook=Decimal)


def decode(data: bytes) -> Any:
    """The value of a JSON document. Raises :class:`msgspec.DecodeError`, which is a ValueError."""
    return _decoder.decode(data)


def exact(value: Any) -> Any:
    """``value`` with each float replaced by the Decimal that has the float's shortest text (0.1 is a tenth)."""
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, Mapping):
        return {key: exact(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [exact(item) for item in value]
    return value
