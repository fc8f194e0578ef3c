"""What plugins emit: events of type ``<plugin>/<event>``, published when the invocation is committed."""

import uuid
from datetime import UTC, datetime
from typing import Any

from outlet._rules.emitting import EVENT_NAME, check_event_name, encode_event
from services.common.events import ORGANIZATION_WIDE, DomainEvent
from services.common.topics import PLUGIN_EVENTS
from services.common.tracing import current, text_of
from services.runtime.invocation import source_of
from services.runtime.outbound.webhooks.feed import owe
from services.runtime.plugin_api.groups import Arguments, Context, Group, method
from services.runtime.plugin_api.outgoing import publish

__all__ = ["EVENT_NAME", "Emit", "Events"]

EMITTED = uuid.UUID("6f1c0e0a-5f0c-5a3e-9a0b-0d9b6c1f7a11")  # namespace of the ids of emitted events


class Emit(Arguments):
    event: str
    data: dict[str, Any]


class Events(Group):
    """``events.emit``."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._emitted = 0

    @method("events.emit", Emit)
    async def emit(self, call: Emit) -> None:
        check_event_name(call.event)
        data = encode_event(call.data)
        # The same attempt of the same cause emits the same ids, so a consumer recognises a repetition.
        name = "/".join([*self.invocation.key.row(), str(self._emitted)])
        self._emitted += 1
        event = DomainEvent(
            id=str(uuid.uuid5(EMITTED, name)),
            type=f"{self.installation.plugin_id}/{call.event}",
            source=source_of(self.installation),
            time=datetime.now(UTC).isoformat(),
            organization=self.installation.organization_id,
            store=self.invocation.store or ORGANIZATION_WIDE,
            data=data,
        )
        async with self.work.use(writes=True) as connection:
            await publish(connection, PLUGIN_EVENTS.name, event, self.installation.id)
            if self.context.resources.webhooks.wants(self.installation.id, event.type):
                await owe(connection, [(self.installation, event, text_of(current()))])
