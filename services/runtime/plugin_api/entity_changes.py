"""How a plugin changes an entity: what it may send, how it is put together, and the event that says so."""

import uuid
from datetime import UTC, datetime

import asyncpg

from outlet._rules.changes import merged, plain
from services.common.events import DomainEvent
from services.common.topics import topic_of
from services.runtime.invocation import Invocation, source_of
from services.runtime.plugin_api.entities import Stored
from services.runtime.plugin_api.outgoing import publish

__all__ = ["Change", "merged", "plain"]

CHANGED = uuid.UUID("b0a4b4de-3f4b-5c0e-8a47-3f1f3f0c2a55")  # namespace of the ids of events and of new entities


class Change:
    """One change of one invocation, by its number: repeated, it has the same ids, so that a consumer recognises it."""

    def __init__(self, connection: asyncpg.Connection, invocation: Invocation, model: str, number: int) -> None:
        self._connection = connection
        self._invocation = invocation
        self._model = model
        self._name = "/".join([*invocation.key.row(), str(number)])

    @property
    def id(self) -> str:
        """The id of a new entity that was given none."""
        return str(uuid.uuid5(CHANGED, f"{self._name}/entity"))

    async def publish(self, verb: str, stored: Stored, text: str, moment: datetime) -> None:
        """Emit ``<model>.<verb>`` with the entity as JSON, when the transaction commits."""
        event = DomainEvent(
            id=str(uuid.uuid5(CHANGED, self._name)),
            type=f"{self._model}.{verb}",
            source=source_of(self._invocation.installation),
            # The row's own time: the projector that reads this event finds the row as new as the event, and leaves it.
            time=moment.astimezone(UTC).isoformat(),
            organization=self._invocation.installation.organization_id,
            store=stored.store,
            data=text.encode(),
        )
        await publish(self._connection, topic_of(event.type), event, stored.id)
