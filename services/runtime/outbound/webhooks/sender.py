"""Sends deliveries that are due, in every worker."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import asyncpg
import httpx
import structlog

from services.common.database import DATABASE_ERRORS
from services.common.directory import Directory, Installation
from services.common.tracing import OFF, Tracing, current, headers_of
from services.runtime.outbound.client import OutboundClient, ResponseTooLarge, ResponseUnreadable
from services.runtime.outbound.destinations import destination
from services.runtime.outbound.guard import AddressRefused
from services.runtime.outbound.webhooks.feed import store_of
from services.runtime.outbound.webhooks.queue import Delivery, DeliveryQueue, Outcome
from services.runtime.outbound.webhooks.signing import signed_headers
from services.runtime.outbound.webhooks.spans import attempting, concluded
from services.runtime.plugin_api.errors import ApiRefusal

log = structlog.get_logger(__name__)

POLL_SECONDS = 0.5
RETRY_SECONDS = 2.0
SEND_SECONDS = 10.0
AT_ONCE = 32
PER_WEBHOOK = 4
EXCERPT_BYTES = 1_024
UNTIL_ACTIVE = timedelta(minutes=1)
SWEEP_EVERY = timedelta(hours=1)


def utc_now() -> datetime:
    return datetime.now(UTC)


class WebhookSender:
    """Takes due deliveries and makes one attempt at each. What a worker that dies had taken is due again soon.

    A receiver gets a delivery at least once, with the same ``webhook-id`` each time. No redirect is followed.
    """

    def __init__(
        self,
        directory: Directory,
        pool: "asyncpg.Pool[asyncpg.Record]",
        client: OutboundClient,
        *,
        now: Callable[[], datetime] = utc_now,
        tracing: Tracing = OFF,
    ) -> None:
        self._tracing = tracing
        self._directory = directory
        self._queue = DeliveryQueue(pool)
        self._client = client
        self._now = now
        self._running: dict[asyncio.Task[None], str] = {}
        self._ended = asyncio.Event()
        self._swept = now()

    async def run(self) -> None:
        """Send until cancelled. A database that is away delays, and loses nothing."""
        try:
            while True:
                self._ended.clear()
                try:
                    started = await self.turn()
                    await self._sweep_if_due()
                except DATABASE_ERRORS as error:
                    log.warning("webhooks not delivered, trying again", error=repr(error))
                    await asyncio.sleep(RETRY_SECONDS)
                    continue
                if not started:
                    await self._ended_or_due()
        finally:
            await self._stop()

    async def turn(self) -> "list[asyncio.Task[None]]":
        """Start attempts at what is due, as far as there is room; what was started."""
        room = AT_ONCE - len(self._running)
        if room <= 0:
            return []
        taken = await self._queue.take(room, PER_WEBHOOK, set(self._running.values()))
        return [self._start(delivery) for delivery in taken]

    def _start(self, delivery: Delivery) -> "asyncio.Task[None]":
        task = asyncio.create_task(self._attempt(delivery), name=f"webhook {delivery.id}")
        self._running[task] = delivery.webhook_id
        task.add_done_callback(self._leave)
        return task

    def _leave(self, task: "asyncio.Task[None]") -> None:
        del self._running[task]
        self._ended.set()
        if not task.cancelled() and (error := task.exception()):
            log.warning("a webhook's delivery waits for the end of its lease", error=repr(error))

    async def _attempt(self, delivery: Delivery) -> None:
        installed = self._directory.get(delivery.installation_id)
        if installed is None or installed.status != "active":
            await self._queue.release(delivery, UNTIL_ACTIVE)
            return
        installation = installed.at(store_of(delivery.payload)) if installed.variants else installed
        with attempting(self._tracing, installation, delivery) as span:
            outcome = await self._send(installation, delivery)
            concluded(span, outcome)
            disabled = await self._queue.attempted(delivery, outcome)
            log.info(
                "webhook attempted",
                webhook=delivery.webhook_id,
                delivery=delivery.id,
                installation=delivery.installation_id,
                attempt=delivery.attempts,
                code=outcome.code,
                error=outcome.error,
                disabled=disabled,
            )

    async def _send(self, installation: Installation, delivery: Delivery) -> Outcome:
        headers = [
            ("content-type", "application/json"),
            ("user-agent", f"outlet-webhook/{installation.plugin_id}"),
            *signed_headers(delivery.id, delivery.payload, delivery.keys, self._now()),
            *(headers_of(current()).items() if self._tracing.on else ()),
        ]
        try:
            url = destination(installation, delivery.url, plain_http=self._client.guard.loopback)
            async with asyncio.timeout(SEND_SECONDS):
                answer = await self._client.send("POST", url, headers, delivery.payload, limit=EXCERPT_BYTES, cut=True)
        except ApiRefusal as refusal:
            return Outcome(error=refusal.message)
        except (TimeoutError, httpx.TimeoutException):
            return Outcome(error=f"no complete answer within {SEND_SECONDS:g} s")
        except (AddressRefused, ResponseTooLarge, ResponseUnreadable) as error:
            return Outcome(error=str(error))
        except httpx.TransportError as error:
            return Outcome(error=str(error)[:300] or "the connection broke")
        excerpt = answer.body.decode(errors="replace").replace("\0", "")
        return Outcome(answer.status, excerpt)

    async def _sweep_if_due(self) -> None:
        if self._now() - self._swept >= SWEEP_EVERY:
            self._swept = self._now()
            await self._queue.sweep()

    async def _ended_or_due(self) -> None:
        try:
            async with asyncio.timeout(POLL_SECONDS):
                await self._ended.wait()
        except TimeoutError:
            return

    async def _stop(self) -> None:
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
