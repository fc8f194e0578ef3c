"""The topic catalogue: every Kafka topic of the platform, in one place."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

PREFIX = "outlet."

ENTITIES = ("sale", "product", "customer", "employee", "store")
EVENT_VERBS = ("created", "updated", "deleted")


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic. ``partitions`` None means the operator's default; a fixed number is part of the contract."""

    name: str
    purpose: str
    cleanup: Literal["delete", "compact"] = "delete"
    partitions: int | None = None


EVENTS = {entity: Topic(f"{PREFIX}events.{entity}", f"what happened to a {entity}") for entity in ENTITIES}
PLUGIN_EVENTS = Topic(
    f"{PREFIX}events.plugin", "what plugins emit: <plugin>/<event>; what happened to plugins: plugin.*"
)
NOTIFICATIONS = Topic(f"{PREFIX}notifications", "what plugins tell users, for the screens they have open")
NOTIFICATION_SENT = "notification.sent"
BREAKER_OPENED = "plugin.breaker-opened"
BREAKER_CLOSED = "plugin.breaker-closed"
OTHER_EVENTS = Topic(f"{PREFIX}events.other", "events of types that the platform does not know; kept")
INSTALLATIONS = Topic(
    f"{PREFIX}installations",
    "the present state of every installation, key = installation id; one partition, so that its order is total",
    cleanup="compact",
    partitions=1,
)
CONFIGURATION = Topic(f"{PREFIX}configuration", "settings that plugins changed themselves, key = installation id")
EXECUTIONS = Topic(f"{PREFIX}executions", "what plugins did in a second, key = installation id")
STATISTICS = Topic(
    f"{PREFIX}statistics", "what plugins did in the last minute, key = installation id", cleanup="compact"
)
BREAKERS = Topic(f"{PREFIX}breakers", "circuit breakers that are to change, key = installation id")
DEAD_LETTERS = Topic(f"{PREFIX}dead-letters", "records that nobody could process, with their headers and the reason")

EVENT_TOPICS = (*EVENTS.values(), PLUGIN_EVENTS, OTHER_EVENTS)
CATALOGUE = (
    *EVENT_TOPICS,
    NOTIFICATIONS,
    INSTALLATIONS,
    CONFIGURATION,
    EXECUTIONS,
    STATISTICS,
    BREAKERS,
    DEAD_LETTERS,
)


def topic_of(event_type: str) -> str:
    """The topic an event type travels on: ``sale.created`` on the sale topic, ``plugin/event`` on the plugins'."""
    if is_reserved(event_type):
        return PLUGIN_EVENTS.name
    entity = entity_of(event_type)
    return OTHER_EVENTS.name if entity is None else EVENTS[entity].name


def is_reserved(event_type: str) -> bool:
    """Whether only plugins (``plugin/event``) or the platform itself (``plugin.*``) may publish events of a type."""
    return "/" in event_type or event_type.startswith("plugin.")


@lru_cache(maxsize=1_024)
def entity_of(event_type: str) -> str | None:
    """``sale`` for ``sale.created``; None for a type whose payload the platform does not know."""
    entity, _, verb = event_type.partition(".")
    return entity if entity in ENTITIES and verb in EVENT_VERBS else None
