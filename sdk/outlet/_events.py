"""The event a hook is called with."""

from datetime import datetime
from typing import Any

import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened in a store (a CloudEvent).

    ``data`` is the entity: JSON, in which a number with a fraction is a Decimal. ``id`` is unique within ``source``.
    An event may be delivered more than once; what a hook did through the API still happens once.
    """

    id: str
    type: str
    source: str
    time: datetime
    organization: str
    store: str
    data: Any
