"""Webhooks: events that the platform sends on to receivers outside."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Call = Callable[[str, dict[str, Any]], Awaitable[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """A registered webhook. ``event`` is the full type of its events.

    ``secret`` (``whsec_...``) verifies the signatures; give it to the receiver. Only registering and rotating tell it.
    ``failing_since``: no attempt has succeeded since then. ``disabled_at``: given up, for ``disabled_reason``.
    """

    id: str
    event: str
    url: str
    secret: str | None = field(default=None, repr=False)
    created_at: datetime | None = None
    failing_since: datetime | None = None
    disabled_at: datetime | None = None
    disabled_reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookDelivery:
    """One event owed to one webhook. ``id`` is the ``webhook-id`` that the receiver sees.

    ``response_code`` and ``response_excerpt`` (1 KiB) are of the last attempt that was answered; ``error`` says why
    there was no answer.
    """

    id: str
    event: str
    event_id: str
    status: Literal["pending", "delivered", "failed"]
    attempts: int
    response_code: int | None
    response_excerpt: str | None
    error: str | None
    created_at: datetime
    finished_at: datetime | None
    next_attempt_at: datetime | None


class Webhooks:
    """``api.webhooks``: the installation's own. Changes are kept when the handler returns."""

    def __init__(self, call: Call) -> None:
        self._call = call

    async def register(self, event: str, url: str) -> Webhook:
        """Have each ``event`` sent to ``url`` by POST, signed by the Standard Webhooks scheme.

        ``event`` is one that the plugin emits (``points-earned``; with dots, its full type) or a type that it has a
        hook for. The host must be granted, as for :meth:`outlet.Api.fetch`. Registering the same again returns the same
        webhook, enabled. Events count from about a second later. They are sent at least once, not always in order.
        """
        return Webhook(**await self._call("webhooks.register", {"event": event, "url": url}))

    async def remove(self, webhook_id: str) -> bool:
        """Remove a webhook, its deliveries and their log; whether there was one."""
        return bool(await self._call("webhooks.remove", {"id": webhook_id}))

    async def rotate(self, webhook_id: str) -> Webhook:
        """Give a webhook a new secret. For 24 hours both sign, so that the receiver can change over in its own time."""
        return Webhook(**await self._call("webhooks.rotate", {"id": webhook_id}))

    async def deliveries(
        self, webhook_id: str, *, before: datetime | None = None, limit: int = 50
    ) -> list[WebhookDelivery]:
        """The delivery log of the last 30 days, newest first; ``before`` a ``created_at`` continues it."""
        asked = {"id": webhook_id, "before": before, "limit": limit}
        return [WebhookDelivery(**found) for found in await self._call("webhooks.deliveries", asked)]

    async def list(self) -> list[Webhook]:
        """All of them, the oldest first, without their secrets."""
        return [Webhook(**found) for found in await self._call("webhooks.list", {})]
