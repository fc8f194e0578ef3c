"""Events that an invocation causes: rows of the outbox until it is committed, records of Kafka after that."""

import json

import asyncpg

from services.common.events import DomainEvent
from services.common.outbox import INSERT
from services.common.tracing import current, headers_of


async def publish(connection: asyncpg.Connection, topic: str, event: DomainEvent, entity_id: str) -> None:
    """Publish ``event`` when the transaction commits, in order with the other events of ``entity_id``.

    It is part of the trace of the API call that causes it.
    """
    headers = {name: value.decode() for name, value in event.headers()} | headers_of(current())
    await connection.execute(INSERT, topic, event.record_key(entity_id), event.data, json.dumps(headers))
