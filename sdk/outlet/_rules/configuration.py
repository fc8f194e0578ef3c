"""What a plugin may set in its own configuration."""

from collections.abc import Sequence
from typing import Any

import msgspec

from outlet._rules.json_schema import Fault
from outlet._rules.refusal import ApiRefusal

SHOWN_FAULTS = 3


def refuse_faults(found: Sequence[Fault]) -> None:
    """Raise ApiRefusal ``invalid_config`` when there are any."""
    if found:
        shown = "; ".join(f"{fault.path}: {fault.message}" for fault in found[:SHOWN_FAULTS])
        raise ApiRefusal("invalid_config", f"the plugin's settings schema does not allow this: {shown}")


def as_published(text: str) -> Any:
    """The value as the registry and the directory read it: its numbers are those of IEEE 754. Raises ApiRefusal."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise ApiRefusal("invalid_value", f"a setting's value is JSON with numbers of 64 bits: {error}") from error
