"""What a plugin changed of its own configuration, on topic ``outlet.configuration``."""

from typing import Any

import msgspec


class SettingChange(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """One setting's new value. ``id`` is the same however often it is sent; ``during`` names the hook or route."""

    id: str
    installation_id: str
    organization_id: str
    key: str
    value: Any
    during: str


def encode_change(change: SettingChange) -> bytes:
    """As JSON. A value that is :class:`msgspec.Raw` is JSON already."""
    return msgspec.json.encode(change)


def decode_change(value: bytes) -> SettingChange:
    """Raises :class:`msgspec.DecodeError`."""
    return msgspec.json.decode(value, type=SettingChange)
