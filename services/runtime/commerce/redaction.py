"""Events as an installation may see them: without the personal data that it was not granted."""

from decimal import Decimal

import msgspec

from services.common.events import DomainEvent
from services.common.topics import ENTITIES
from services.runtime.commerce.personal_data import Hidden, redact

_decoder = msgspec.json.Decoder(float_hook=Decimal)
_encoder = msgspec.json.Encoder(decimal_format="number")


def without(hidden: Hidden, event: DomainEvent) -> DomainEvent:
    """``event`` without the personal data of ``hidden`` people; the same bytes when there is none to remove.

    Events about an entity are looked through, also those of verbs that the platform does not know. What plugins emit,
    and types that belong to no entity, are passed on as they are.
    """
    entity = event.type.partition(".")[0]
    if not hidden or entity not in ENTITIES:
        return event
    try:
        document = _decoder.decode(event.data)
    except (msgspec.DecodeError, RecursionError):
        return msgspec.structs.replace(
            event, data=b""
        )  # what cannot be looked through is not passed on; the guest calls it invalid
    return msgspec.structs.replace(event, data=_encoder.encode(document)) if redact(entity, document, hidden) else event
