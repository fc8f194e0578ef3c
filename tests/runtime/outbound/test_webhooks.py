"""Webhooks, from their registration by a plugin to a receiver that verifies them with the scheme's own library."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import asyncpg
import msgspec
import pytest
import pytest_asyncio
from opentelemetry.trace import SpanKind
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from outlet import Api, ApiError, Webhook, _values
from outlet.manifest import HookDeclaration, Host
from services.common.directory import Directory, Installation, Variant
from services.common.events import DomainEvent
from services.common.tracing import OFF, Tracing, of_headers
from services.runtime.delivery.unit_of_work import UnitOfWork
from services.runtime.invocation import Invocation
from services.runtime.outbound.client import OutboundClient
from services.runtime.outbound.guard import Guard
from services.runtime.outbound.webhooks.feed import WebhookFeed
from services.runtime.outbound.webhooks.queue import DeliveryQueue, Outcome
from services.runtime.outbound.webhooks.retries import PAUSES, pause_after
from services.runtime.outbound.webhooks.sender import WebhookSender
from services.runtime.plugin_api.errors import ApiRefusal
from services.runtime.plugin_api.groups import Context
from services.runtime.plugin_api.session import PluginApiSession
from tests.runtime.installations import installation
from tests.runtime.outbound.receiver import Received, Receiver, answer, receiving
from tests.runtime.resources import fetcher, resources
from tests.support.spans import REMOTE, TRACE_ID, recording

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"


async def to_this_machine(host: str, port: int) -> list[str]:
    return ["127.0.0.1"]


def granted(organization: str = "acme", **changes: Any) -> Installation:
    found = installation(
        organization=organization,
        hosts=(Host(name="api.example.com", purpose="to test"),),
        hooks=(HookDeclaration(event="sale.created"),),
    )
    return msgspec.structs.replace(found, grants=("host:api.example.com",), **changes)


@dataclass
class Platform:
    """Workers that send from one database to one receiver."""

    pool: Pool
    everything: Pool
    receiver: Receiver
    guard: Guard = field(default_factory=lambda: Guard(loopback=True))
    directory: Directory = field(default_factory=Directory)
    feed: WebhookFeed = field(default_factory=WebhookFeed)
    found: Installation = field(default_factory=granted)

    async def within(
        self, use: Callable[[Api], Awaitable[Any]], found: Installation | None = None, *, fails: bool = False
    ) -> Any:
        """Run ``use`` as a handler, in one transaction; undone when it ``fails``."""
        invocation = Invocation(
            found or self.found, "hook", "sale.created", "urn:pos", uuid.uuid4().hex, "s1", b"", 5.0
        )
        work = UnitOfWork(self.pool, invocation.key, invocation.scope)
        held = resources(fetcher=fetcher(self.guard, "127.0.0.1"), webhooks=self.feed)
        session = PluginApiSession(Context(invocation, work, held))

        class Direct:
            async def call(self, method: str, arguments: dict[str, Any]) -> Any:
                try:
                    answered = await session(method, _values.decode(_values.encode(arguments)))
                except ApiRefusal as refusal:
                    raise ApiError(refusal.code, refusal.message) from refusal
                return _values.decode(_values.encode(answered))

            def notify(self, method: str, arguments: dict[str, Any]) -> None:
                raise AssertionError(method)

        try:
            result = await use(Api(Direct()))
            if not fails:
                await work.commit()
            return result
        finally:
            await work.rollback()

    async def register(self, event: str = "done") -> Webhook:
        registered: Webhook = await self.within(lambda api: api.webhooks.register(event, self.receiver.url()))
        return registered

    async def emit(self, count: int = 1, *, fails: bool = False) -> None:
        async def emit(api: Api) -> None:
            for number in range(count):
                await api.emit("done", {"number": number})

        await self.within(emit, fails=fails)

    async def send(self, sender: WebhookSender | None = None) -> int:
        """One turn of a worker, to its end; how many attempts it made."""
        tasks = await (sender or self.sender()).turn()
        await asyncio.gather(*tasks)
        return len(tasks)

    def sender(self, tracing: Tracing = OFF) -> WebhookSender:
        return WebhookSender(self.directory, self.pool, OutboundClient(self.guard, to_this_machine), tracing=tracing)

    async def make_due(self) -> None:
        """Let the time pass that retries and breaks wait for."""
        await self.everything.execute("UPDATE webhook SET paused_until = NULL")
        await self.everything.execute("UPDATE webhook_delivery SET due_at = now() WHERE status = 'pending'")

    async def rows(self) -> "list[asyncpg.Record]":
        found: list[asyncpg.Record] = await self.everything.fetch("SELECT * FROM webhook_delivery ORDER BY created_at")
        return found

    async def log(self, webhook: Webhook) -> list[Any]:
        found: list[Any] = await self.within(lambda api: api.webhooks.deliveries(webhook.id))
        return found


@pytest_asyncio.fixture(loop_scope="session")
async def platform(runtime_pool: Pool, platform_pool: Pool) -> AsyncIterator[Platform]:
    async with receiving() as receiver:
        made = Platform(runtime_pool, platform_pool, receiver)
        made.directory.put(made.found)
        yield made


async def refused(call: Awaitable[Any]) -> str:
    with pytest.raises(ApiError) as refusal:
        await call
    return refusal.value.code


def verified(webhook: Webhook, received: Received) -> Any:
    assert webhook.secret is not None
    return Verifier(webhook.secret).verify(received.body, received.headers)


async def test_an_emitted_event_reaches_its_receiver_signed(platform: Platform) -> None:
    webhook = await platform.register()
    assert webhook.event == "loyalty-points/done"
    await platform.emit()
    assert await platform.send() == 1
    [received] = platform.receiver.requests
    document = verified(webhook, received)
    assert (document["type"], document["data"], document["organization"]) == (webhook.event, {"number": 0}, "acme")
    assert received.method == "POST"
    [delivery] = await platform.log(webhook)
    assert (delivery.status, delivery.attempts, delivery.response_code) == ("delivered", 1, 200)
    assert (delivery.id, delivery.event_id) == (received.headers["webhook-id"], document["id"])
    assert delivery.next_attempt_at is None
    assert await platform.send() == 0
    with pytest.raises(WebhookVerificationError):
        verified(webhook, Received("POST", "/", received.headers, received.body + b" "))


async def test_an_event_of_a_handler_that_failed_is_not_delivered(platform: Platform) -> None:
    await platform.register()
    await platform.emit(fails=True)
    assert await platform.rows() == []


def sale(event_id: str = "e1", data: bytes = b'{"total": 1.10}', event: str = "sale.created") -> DomainEvent:
    return DomainEvent(event_id, event, "urn:pos", "2026-11-01T12:00:00Z", "acme", "s1", data)


async def test_a_consumed_event_is_owed_once_however_often_it_comes(platform: Platform) -> None:
    webhook = await platform.register("sale.created")
    await platform.feed.refresh(platform.pool)
    assert platform.feed.wants(platform.found.id, "sale.created")
    assert not platform.feed.wants_any("sale.updated")
    for _ in range(3):
        await platform.feed.consume(platform.pool, [(platform.found, sale(), None), (platform.found, sale(), None)])
    await platform.feed.consume(platform.pool, [(platform.found, sale("e2", b"no json"), None)])
    assert len(await platform.rows()) == 1
    await platform.send()
    document = verified(webhook, platform.receiver.requests[0])
    assert (document["id"], document["timestamp"]) == ("e1", "2026-11-01T12:00:00Z")
    assert b'"total": 1.10' in platform.receiver.requests[0].body


async def test_only_events_that_the_plugin_emits_or_hears_can_be_registered(platform: Platform) -> None:
    async def register(api: Api) -> None:
        url = platform.receiver.url()
        assert (await api.webhooks.register("loyalty-points/order.paid", url)).event == "loyalty-points/order.paid"
        for event in ("sale.deleted", "other-plugin/done", "", "loyalty-points/", "A", "x" * 300 + "/"):
            assert await refused(api.webhooks.register(event, url)) == "unknown_event", event

    await platform.within(register)


async def test_only_granted_hosts_can_be_registered_and_are_sent_to(platform: Platform) -> None:
    async def elsewhere(api: Api) -> None:
        for url in ("https://evil.net/", "https://127.0.0.1/", "https://api.example.com.evil.net/"):
            assert await refused(api.webhooks.register("done", url)) == "host_not_declared"
        assert await refused(api.webhooks.register("done", "gopher://api.example.com/")) == "invalid_url"

    await platform.within(elsewhere)
    webhook = await platform.register()
    await platform.emit()
    platform.directory.put(msgspec.structs.replace(platform.found, grants=(), revision=2))
    await platform.send()
    assert platform.receiver.requests == []
    [delivery] = await platform.log(webhook)
    assert (delivery.status, delivery.response_code) == ("pending", None)
    assert "not granted" in delivery.error


async def test_a_host_withheld_in_one_store_gets_no_event_of_it_and_those_of_others(platform: Platform) -> None:
    webhook = await platform.register("sale.created")
    withheld = Variant(place="store:s2", stores=("s2",), grants=())
    found = msgspec.structs.replace(platform.found, variants=(withheld,), revision=2)
    platform.directory.put(found)
    for store in ("s1", "s2"):
        event = msgspec.structs.replace(sale(f"e-{store}"), store=store)
        await platform.feed.consume(platform.pool, [(found.at(store), event, None)])
    await platform.send()
    assert [verified(webhook, each)["store"] for each in platform.receiver.requests] == ["s1"]
    errors = {delivery.status: delivery.error or "" for delivery in await platform.log(webhook)}
    assert "not granted" in errors["pending"]


async def test_a_receiver_inside_is_not_reached(platform: Platform) -> None:
    webhook = await platform.register()
    await platform.emit()
    sender = WebhookSender(platform.directory, platform.pool, OutboundClient(Inside(), to_this_machine))
    await platform.send(sender)
    assert platform.receiver.requests == []
    [delivery] = await platform.log(webhook)
    assert "public address" in delivery.error


class Inside(Guard):
    """Accepts the test's plain http, and no address of this machine."""

    def __init__(self) -> None:
        super().__init__(loopback=True)

    def allows(self, address: Any) -> bool:
        return False


async def test_a_failed_attempt_is_repeated_with_the_same_id_until_it_succeeds(platform: Platform) -> None:
    webhook = await platform.register()
    await platform.emit()
    for failure in (answer(500, b"out of order\0" + b"x" * 5000), b"", answer(302, location="/other")):
        platform.receiver.answer = failure
        await platform.make_due()
        assert await platform.send() == 1
        assert await platform.send() == 0  # not before its time
    [delivery] = await platform.log(webhook)
    assert (delivery.status, delivery.attempts, delivery.response_code) == ("pending", 3, 302)
    [found] = await platform.within(lambda api: api.webhooks.list())
    assert found.failing_since is not None
    platform.receiver.answer = answer(204)
    await platform.make_due()
    await platform.send()
    [delivery] = await platform.log(webhook)
    assert (delivery.status, delivery.attempts, delivery.error) == ("delivered", 4, None)
    assert len({received.headers["webhook-id"] for received in platform.receiver.requests}) == 1
    [found] = await platform.within(lambda api: api.webhooks.list())
    assert found.failing_since is None


async def test_what_the_receiver_said_is_kept_in_part(platform: Platform) -> None:
    webhook = await platform.register()
    await platform.emit()
    platform.receiver.answer = answer(500, b"out of \0order" + b"x" * 5000)
    await platform.send()
    [delivery] = await platform.log(webhook)
    assert delivery.response_excerpt.startswith("out of order")
    assert len(delivery.response_excerpt) < 1025


async def test_a_delivery_fails_for_good_after_its_last_attempt(platform: Platform) -> None:
    webhook = await platform.register()
    await platform.emit()
    platform.receiver.answer = answer(500)
    for _ in range(len(PAUSES) + 1):
        await platform.make_due()
        assert await platform.send() == 1
    await platform.make_due()
    assert await platform.send() == 0
    [delivery] = await platform.log(webhook)
    assert (delivery.status, delivery.attempts) == ("failed", 8)


def test_pauses_grow_over_more_than_a_day_and_are_spread() -> None:
    assert [pause_after(1, chance) for chance in (0, 0.5, 1)] == [PAUSES[0] * 0.8, PAUSES[0], PAUSES[0] * 1.2]
    assert pause_after(len(PAUSES) + 1) is None
    assert sum(pause.total_seconds() for pause in PAUSES) > 24 * 3600


async def test_a_receiver_that_is_gone_three_times_is_given_up_until_it_is_registered_again(
    platform: Platform,
) -> None:
    webhook = await platform.register()
    await platform.emit(5)
    platform.receiver.answer = answer(410)
    for _ in range(3):
        await platform.make_due()
        await platform.send()
    [found] = await platform.within(lambda api: api.webhooks.list())
    assert found.disabled_at is not None
    assert "410" in found.disabled_reason
    assert {row["status"] for row in await platform.rows()} == {"failed"}
    await platform.emit()
    assert len(await platform.rows()) == 5
    again = await platform.register()
    assert (again.id, again.secret) == (webhook.id, webhook.secret)
    platform.receiver.answer = answer(200)
    await platform.emit()
    assert await platform.send() == 1


async def test_a_receiver_that_failed_for_days_is_given_up(platform: Platform) -> None:
    await platform.register()
    await platform.emit()
    platform.receiver.answer = answer(500)
    await platform.send()
    await platform.everything.execute("UPDATE webhook SET failing_since = now() - interval '6 days'")
    await platform.make_due()
    await platform.send()
    [found] = await platform.within(lambda api: api.webhooks.list())
    assert "5 days" in found.disabled_reason


async def test_a_failing_receiver_gets_a_break_and_does_not_hold_up_another(platform: Platform) -> None:
    await platform.register()
    await platform.within(lambda api: api.webhooks.register("done", platform.receiver.url(path="/other")))
    platform.receiver.answer = lambda received: answer(200 if received.target == "/other" else 500)
    await platform.emit(20)
    sender = platform.sender()
    while await platform.send(sender):
        pass
    targets = [received.target for received in platform.receiver.requests]
    assert targets.count("/other") == 20
    assert targets.count("/") == 4


async def test_after_a_rotation_both_secrets_sign_for_a_day(platform: Platform) -> None:
    old = await platform.register()
    new: Webhook = await platform.within(lambda api: api.webhooks.rotate(old.id))
    assert old.secret != new.secret
    await platform.emit()
    await platform.send()
    assert verified(old, platform.receiver.requests[0]) == verified(new, platform.receiver.requests[0])
    await platform.everything.execute("UPDATE webhook SET previous_until = now() - interval '1 second'")
    await platform.emit()
    await platform.send()
    verified(new, platform.receiver.requests[1])
    with pytest.raises(WebhookVerificationError):
        verified(old, platform.receiver.requests[1])
    assert await refused(platform.within(lambda api: api.webhooks.rotate("wh_none"))) == "unknown_webhook"


async def test_several_workers_send_each_delivery_once(platform: Platform) -> None:
    for path in "abcdefgh":
        await platform.within(
            lambda api, path=path: api.webhooks.register("done", platform.receiver.url(path=f"/{path}"))  # type: ignore[misc]
        )
    await platform.emit(10)
    workers = [platform.sender() for _ in range(3)]
    while sum(await asyncio.gather(*(platform.send(worker) for worker in workers))):
        pass
    ids = [received.headers["webhook-id"] for received in platform.receiver.requests]
    assert len(ids) == len(set(ids)) == 80


async def test_what_a_dead_worker_had_taken_is_sent_by_another_after_its_lease(platform: Platform) -> None:
    webhook = await platform.register()
    await platform.emit()
    dead = DeliveryQueue(platform.pool)
    [taken] = await dead.take(10, 10, ())
    assert await platform.send() == 0
    await platform.make_due()
    assert await platform.send() == 1
    await dead.attempted(taken, Outcome(500))  # it was not so dead, and comes too late
    [delivery] = await platform.log(webhook)
    assert (delivery.status, delivery.attempts) == ("delivered", 2)


async def test_a_deactivated_plugin_keeps_its_deliveries_waiting(platform: Platform) -> None:
    webhook = await platform.register()
    await platform.emit()
    platform.directory.put(msgspec.structs.replace(platform.found, status="inactive", revision=2))
    await platform.send()
    [delivery] = await platform.log(webhook)
    assert (delivery.status, delivery.attempts, len(platform.receiver.requests)) == ("pending", 0, 0)
    platform.directory.put(msgspec.structs.replace(platform.found, revision=3))
    await platform.make_due()
    assert await platform.send() == 1


async def test_a_removed_webhook_gets_nothing_more(platform: Platform) -> None:
    webhook = await platform.register()
    await platform.emit()
    assert await platform.within(lambda api: api.webhooks.remove(webhook.id)) is True
    assert await platform.within(lambda api: api.webhooks.remove(webhook.id)) is False
    assert await platform.send() == 0
    assert await platform.rows() == []


async def test_another_installations_webhooks_are_out_of_reach(platform: Platform) -> None:
    webhook = await platform.register()
    await platform.emit()
    other = granted("globex")

    async def reach(api: Api) -> None:
        assert await api.webhooks.list() == []
        assert await api.webhooks.deliveries(webhook.id) == []
        assert await api.webhooks.remove(webhook.id) is False
        assert await refused(api.webhooks.rotate(webhook.id)) == "unknown_webhook"
        await api.webhooks.register("done", platform.receiver.url())
        assert (await api.webhooks.list())[0].id != webhook.id

    await platform.within(reach, other)
    assert len(await platform.log(webhook)) == 1


async def test_secrets_are_told_when_they_are_made_and_never_listed(platform: Platform) -> None:
    webhook = await platform.register()
    assert webhook.secret is not None
    [found] = await platform.within(lambda api: api.webhooks.list())
    assert found.secret is None
    assert webhook.secret not in repr(webhook)


async def test_the_log_is_read_in_pages_and_swept(platform: Platform) -> None:
    webhook = await platform.register()
    for _ in range(3):
        await platform.emit()

    async def pages(api: Api) -> None:
        first = await api.webhooks.deliveries(webhook.id, limit=2)
        rest = await api.webhooks.deliveries(webhook.id, limit=2, before=first[-1].created_at)
        assert [len(first), len(rest)] == [2, 1]
        assert await refused(api.webhooks.deliveries(webhook.id, limit=101)) == "invalid_arguments"

    await platform.within(pages)
    await platform.send()
    await platform.everything.execute("UPDATE webhook_delivery SET finished_at = now() - interval '31 days'")
    await DeliveryQueue(platform.pool).sweep()
    assert await platform.rows() == []


async def test_an_installation_has_a_bounded_number_of_webhooks(platform: Platform) -> None:
    async def many(api: Api) -> None:
        for number in range(100):
            await api.webhooks.register("done", platform.receiver.url(path=f"/{number}"))
        await api.webhooks.register("done", platform.receiver.url(path="/99"))
        assert await refused(api.webhooks.register("done", platform.receiver.url(path="/100"))) == "too_many_webhooks"

    await platform.within(many)


async def test_deliveries_go_out_by_themselves(platform: Platform) -> None:
    arrived = asyncio.Event()

    def note(_: Received) -> bytes:
        arrived.set()
        return answer(200)

    platform.receiver.answer = note
    await platform.register()
    await platform.emit()
    running = asyncio.create_task(platform.sender().run())
    await asyncio.wait_for(arrived.wait(), 10)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert json.loads(platform.receiver.requests[0].body)["data"] == {"number": 0}


async def test_every_attempt_is_a_span_of_the_trace_that_caused_the_delivery(platform: Platform) -> None:
    tracing, spans = recording()
    await platform.register()
    with tracing.span("api events.emit", SpanKind.INTERNAL, REMOTE, {}) as cause:
        await platform.emit()
    platform.receiver.answer = answer(500, b"the customer's name")
    assert await platform.send(platform.sender(tracing)) == 1
    platform.receiver.answer = answer(204)
    await platform.make_due()
    assert await platform.send(platform.sender(tracing)) == 1
    failed, delivered = (span for span in spans.get_finished_spans() if span.name == "webhook POST")
    for number, span in enumerate((failed, delivered)):
        assert span.parent is not None
        assert span.context is not None
        assert span.attributes is not None
        assert (span.parent.trace_id, span.parent.span_id) == (TRACE_ID, cause.get_span_context().span_id)
        assert span.attributes["http.request.resend_count"] == number
        sent = of_headers(platform.receiver.requests[number].headers)
        assert sent is not None
        assert (sent.trace_id, sent.span_id) == (TRACE_ID, span.context.span_id)
        assert "customer" not in span.to_json()
    assert failed.attributes is not None
    assert (failed.attributes["error.type"], delivered.status.is_ok) == ("500", True)


async def test_without_tracing_receivers_are_told_of_no_trace(platform: Platform) -> None:
    await platform.register()
    await platform.emit()
    assert await platform.send() == 1
    assert "traceparent" not in platform.receiver.requests[0].headers
