"""Licences: what activation asks for, trials, payments as Stripe tells them, and what becomes of what is not paid."""

import asyncio
import json
import time
from datetime import datetime
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from pydantic import ValidationError

from services.registry.licences.entitlement import LicenceKeeper
from tests.registry.licences.stripe_server import (
    FakeStripe,
    event,
    send,
    session,
    signature,
    subscription,
)
from tests.registry.platform import PUBLISHER, Client, LocalRegistry
from tests.registry.worker import FakeWorker

# Stripe's library gives httpx its forms as "data", which httpx would rather have as "content".
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

ONCE = {"model": "one-time", "amount": 4900, "currency": "EUR"}
MONTHLY = {"model": "subscription", "amount": 990, "currency": "EUR", "period": "month", "trialDays": 14}
URLS = {"successUrl": "https://shop.example/done", "cancelUrl": "https://shop.example/back"}
MONTH = 30 * 86400


async def check_out(client: Client, plugin_id: str) -> str:
    response = await client.post(f"/marketplace/{plugin_id}/licence/checkout", URLS)
    assert response.status_code == 201, response.text
    assert response.json()["url"] == "https://checkout.stripe.example/cs_1"
    return str(response.json()["checkoutId"])


async def licence(client: Client) -> dict[str, Any] | None:
    """The one licence of the organization."""
    items = (await client.get("/licences")).json()["items"]
    return items[0] if items else None


async def is_good(client: Client) -> bool:
    found = await licence(client)
    return found is not None and bool(found["good"])


async def tell(shop: LocalRegistry, kind: str, told: dict[str, Any], **members: Any) -> str:
    response = await send(shop, event(kind, told, event_id=members.pop("event_id", f"evt_{uuid4().hex}"), **members))
    assert response.status_code == 200, response.text
    return str(response.json()["outcome"])


async def look(shop: LocalRegistry) -> None:
    keeper: LicenceKeeper = shop.app.state.licence_keeper
    await keeper.look()


async def run_out(shop: LocalRegistry, client: Client) -> None:
    """Let a month pass for the organization's licence."""
    connection = await asyncpg.connect(shop.settings.registry_database_url)
    try:
        statement = "UPDATE licence SET valid_until = now() - interval '1 s' WHERE organization_id = $1"
        assert await connection.execute(statement, client.organization) == "UPDATE 1"
    finally:
        await connection.close()


async def test_what_costs_is_activated_only_with_a_licence(worker: FakeWorker, shop: LocalRegistry) -> None:
    plugin_id, client = await shop.publish(price=ONCE), shop.caller()
    installed = await client.install(plugin_id)
    refused = await client.post(f"/{installed['id']}/activate")
    assert (refused.status_code, refused.json()["code"]) == (402, "licence_required")
    assert refused.json()["checkout"] == f"/api/plugins/marketplace/{plugin_id}/licence/checkout"
    assert "ON_ACTIVATE" not in worker.hooks
    paid = session(await check_out(client, plugin_id), "pi_1")
    assert await tell(shop, "checkout.session.completed", paid) == "applied"
    assert (await client.post(f"/{installed['id']}/activate")).json()["status"] == "active"
    found = await licence(client)
    assert found is not None
    assert (found["kind"], found["good"], found["validUntil"]) == ("one-time", True, None)
    again = await client.post(f"/marketplace/{plugin_id}/licence/checkout", URLS)
    assert (again.status_code, again.json()["code"]) == (409, "already_licensed")


async def test_the_publisher_and_what_is_free_need_none(worker: FakeWorker, shop: LocalRegistry) -> None:
    own, free = await shop.publish(price=ONCE), await shop.publish()
    for client, plugin_id in ((shop.caller("owner", PUBLISHER), own), (shop.caller(), free)):
        installed = await client.install(plugin_id)
        assert (await client.post(f"/{installed['id']}/activate")).status_code == 200
        nothing = await client.post(f"/marketplace/{plugin_id}/licence/checkout", URLS)
        assert (nothing.status_code, nothing.json()["code"]) == (409, "nothing_to_pay")


async def test_the_order_goes_to_stripe_and_no_card_to_us(shop: LocalRegistry, stripe: FakeStripe) -> None:
    plugin_id, client = await shop.publish(price=MONTHLY), shop.caller()
    checkout_id = await check_out(client, plugin_id)
    [(path, fields, headers)] = stripe.requests
    assert path == "/v1/checkout/sessions"
    assert fields["mode"] == "subscription"
    assert fields["client_reference_id"] == fields["subscription_data[metadata][checkoutId]"] == checkout_id
    assert fields["line_items[0][price_data][unit_amount]"] == "990"
    assert fields["line_items[0][price_data][currency]"] == "eur"
    assert fields["line_items[0][price_data][recurring][interval]"] == "month"
    assert (fields["success_url"], fields["cancel_url"]) == (URLS["successUrl"], URLS["cancelUrl"])
    assert headers["idempotency-key"] == f"outlet-{checkout_id}"
    assert headers["authorization"] == "Bearer sk_test_of_nobody"


async def test_a_refusal_of_stripe_is_told_without_its_words(shop: LocalRegistry, stripe: FakeStripe) -> None:
    plugin_id, client = await shop.publish(price=ONCE), shop.caller()
    stripe.fails = 402
    refused = await client.post(f"/marketplace/{plugin_id}/licence/checkout", URLS)
    assert (refused.status_code, refused.json()["code"]) == (502, "payment_provider_failed")
    assert await licence(client) is None


async def test_a_trial_is_given_once_per_organization(worker: FakeWorker, shop: LocalRegistry) -> None:
    plugin_id, client = await shop.publish(price=MONTHLY), shop.caller()
    path = f"/marketplace/{plugin_id}/licence/trial"
    answers = await asyncio.gather(*(client.post(path) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    begun = next(answer for answer in answers if answer.status_code == 201).json()
    lasts = datetime.fromisoformat(begun["validUntil"]) - datetime.fromisoformat(begun["trialUsedAt"])
    assert (begun["kind"], lasts.days) == ("trial", 14)
    installed = await client.install(plugin_id)
    assert (await client.post(f"/{installed['id']}/activate")).status_code == 200
    await run_out(shop, client)
    again = await client.also("admin").post(path)
    assert (again.status_code, again.json()["code"]) == (409, "trial_used")
    assert not await is_good(client)
    none = await client.post(f"/marketplace/{await shop.publish(price=ONCE)}/licence/trial")
    assert (none.status_code, none.json()["code"]) == (409, "no_trial")


async def test_what_has_run_out_stops_with_its_events_kept_and_goes_on_when_it_is_paid(
    worker: FakeWorker, shop: LocalRegistry
) -> None:
    plugin_id, client = await shop.publish(price=MONTHLY), shop.caller()
    checkout_id = await check_out(client, plugin_id)
    until = time.time() + MONTH
    await tell(shop, "customer.subscription.created", subscription(checkout_id, "sub_run", until=until))
    installed = await client.install(plugin_id)
    assert (await client.post(f"/{installed['id']}/activate")).status_code == 200
    await look(shop)
    assert (await client.read(installed["id"]))["status"] == "active"
    await run_out(shop, client)
    await look(shop)
    stopped = await client.read(installed["id"])
    assert (stopped["status"], stopped["backlog"]) == ("inactive", "pause")
    assert "licence" in stopped["statusReason"]
    assert (await client.post(f"/{installed['id']}/activate")).status_code == 402
    await look(shop)
    assert (await client.read(installed["id"]))["revision"] == stopped["revision"]
    renewed = subscription(checkout_id, "sub_run", until=until + MONTH)
    assert await tell(shop, "customer.subscription.updated", renewed) == "applied"
    await look(shop)
    going = await client.read(installed["id"])
    assert (going["status"], going["statusReason"], going["backlog"]) == ("active", None, "none")
    assert worker.hooks == ["ON_INSTALL", "ON_ACTIVATE"]  # the plugin is not asked
    actions = [entry["action"] for entry in (await client.get("/audit")).json()["items"]]
    assert [each for each in actions if each.startswith("licence.")] == [
        "licence.resume", "licence.renew", "licence.pause", "licence.renew", "licence.checkout"
    ]  # fmt: skip


async def test_what_somebody_deactivated_does_not_start_by_itself(worker: FakeWorker, shop: LocalRegistry) -> None:
    plugin_id, client = await shop.publish(price=MONTHLY), shop.caller()
    assert (await client.post(f"/marketplace/{plugin_id}/licence/trial")).status_code == 201
    installed = await client.install(plugin_id)
    for action in ("activate", "deactivate"):
        assert (await client.post(f"/{installed['id']}/{action}")).status_code == 200
    await run_out(shop, client)
    await look(shop)
    checkout_id = await check_out(client, plugin_id)
    told = subscription(checkout_id, "sub_off", until=time.time() + MONTH)
    await tell(shop, "customer.subscription.created", told)
    await look(shop)
    assert (await client.read(installed["id"]))["status"] == "inactive"


async def test_words_that_come_late_change_nothing(shop: LocalRegistry) -> None:
    plugin_id, client = await shop.publish(price=MONTHLY), shop.caller()
    checkout_id = await check_out(client, plugin_id)
    now, until = int(time.time()), time.time() + MONTH
    reference = f"sub_{uuid4().hex}"
    new = subscription(checkout_id, reference, until=until + MONTH)
    old = subscription(checkout_id, reference, until=until)
    gone = subscription(checkout_id, reference, until=until + MONTH, status="canceled")
    assert await tell(shop, "customer.subscription.updated", new, created=now) == "applied"
    assert await tell(shop, "customer.subscription.created", old, created=now - 5) == "late"
    found = await licence(client)
    assert found is not None
    assert datetime.fromisoformat(found["validUntil"]).timestamp() == int(until + MONTH)
    assert await tell(shop, "customer.subscription.deleted", gone, created=now + 1) == "applied"
    assert not await is_good(client)
    assert await tell(shop, "customer.subscription.updated", new, created=now + 1) == "late"
    assert await tell(shop, "customer.subscription.updated", new, created=now) == "late"
    assert not await is_good(client)


async def test_the_end_of_a_subscription_told_first_lets_nobody_in(shop: LocalRegistry) -> None:
    plugin_id, client = await shop.publish(price=MONTHLY), shop.caller()
    checkout_id = await check_out(client, plugin_id)
    for status in ("incomplete", "incomplete_expired", "unpaid"):
        failed = subscription(checkout_id, f"sub_{status}{uuid4().hex}", until=time.time() + MONTH, status=status)
        assert await tell(shop, "customer.subscription.created", failed) == "late"
    paid = session(checkout_id, "sub_x", amount=990, mode="subscription")
    assert await tell(shop, "checkout.session.completed", paid) == "noted"
    assert await licence(client) is None


async def test_a_cancelled_subscription_lasts_until_its_end(shop: LocalRegistry, stripe: FakeStripe) -> None:
    plugin_id, client = await shop.publish(price=MONTHLY), shop.caller()
    missing = await client.post(f"/marketplace/{plugin_id}/licence/cancel")
    assert (missing.status_code, missing.json()["code"]) == (404, "subscription_not_found")
    reference = f"sub_{uuid4().hex}"
    told = subscription(await check_out(client, plugin_id), reference, until=time.time() + MONTH)
    await tell(shop, "customer.subscription.created", told)
    cancelled = await client.post(f"/marketplace/{plugin_id}/licence/cancel")
    assert (cancelled.json()["cancels"], cancelled.json()["good"]) == (True, True)
    path, fields, _ = stripe.requests[-1]
    assert (path, fields["cancel_at_period_end"]) == (f"/v1/subscriptions/{reference}", "true")


@pytest.mark.parametrize("refund_first", [False, True])
async def test_a_refund_ends_a_licence_whichever_is_told_first(shop: LocalRegistry, refund_first: bool) -> None:
    plugin_id, client = await shop.publish(price=ONCE), shop.caller()
    reference = f"pi_{uuid4().hex}"
    paid = ("checkout.session.completed", session(await check_out(client, plugin_id), reference))
    back = ("charge.refunded", {"id": "ch_1", "object": "charge", "refunded": True, "payment_intent": reference})
    for kind, told in [back, paid] if refund_first else [paid, back]:
        await tell(shop, kind, told)
    found = await licence(client)
    assert found is not None
    assert (found["good"], found["endedAt"] is not None) == (False, True)


async def test_a_word_counts_once_however_often_it_is_sent(shop: LocalRegistry) -> None:
    plugin_id, client = await shop.publish(price=ONCE), shop.caller()
    told = session(await check_out(client, plugin_id), f"pi_{uuid4().hex}")
    body = event("checkout.session.completed", told, event_id=f"evt_{uuid4().hex}")
    answers = await asyncio.gather(*(send(shop, body) for _ in range(4)))
    outcomes = sorted(answer.json()["outcome"] for answer in answers)
    assert outcomes == ["applied", "repeated", "repeated", "repeated"]
    actions = [entry["action"] for entry in (await client.get("/audit")).json()["items"]]
    assert actions.count("licence.pay") == 1


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"amount_total": 1}, "wrong_amount"),
        ({"currency": "jpy"}, "wrong_amount"),
        ({"payment_status": "unpaid"}, "ignored"),
        ({"client_reference_id": str(uuid4())}, "unknown"),
        ({"client_reference_id": None}, "unknown"),
    ],
)
async def test_what_was_not_paid_as_asked_gives_nothing(
    shop: LocalRegistry, changes: dict[str, Any], outcome: str
) -> None:
    plugin_id, client = await shop.publish(price=ONCE), shop.caller()
    told = session(await check_out(client, plugin_id), f"pi_{uuid4().hex}") | changes
    assert await tell(shop, "checkout.session.completed", told) == outcome
    assert await licence(client) is None


def forged(body: bytes, name: str) -> tuple[bytes, str]:
    match name:
        case "unsigned":
            return body, ""
        case "another secret":
            return body, signature(body, secret="whsec_of_another_endpoint")
        case "replayed an hour later":
            return body, signature(body, at=int(time.time()) - 3600)
        case "another body":
            return body.replace(b"4900", b"4901"), signature(body)
        case "another time":
            return body, signature(body).replace("t=", "t=1")
        case _:
            return b"{}", signature(b"{}")


@pytest.mark.parametrize(
    "name",
    ["unsigned", "another secret", "replayed an hour later", "another body", "another time", "signed, but no event"],
)
async def test_a_forged_webhook_is_refused(shop: LocalRegistry, name: str) -> None:
    plugin_id, client = await shop.publish(price=ONCE), shop.caller()
    told = session(await check_out(client, plugin_id), f"pi_{uuid4().hex}")
    body, header = forged(event("checkout.session.completed", told, event_id=f"evt_{uuid4().hex}"), name)
    refused = await send(shop, body, header)
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_webhook")
    assert await licence(client) is None


async def test_other_words_and_other_providers(shop: LocalRegistry) -> None:
    assert await tell(shop, "invoice.paid", {"id": "in_1", "object": "invoice"}) == "ignored"
    other = await shop.http.post("/api/plugins/payments/development/webhook", content=b"{}")
    assert (other.status_code, other.json()["code"]) == (404, "payment_provider_not_found")
    large = await send(shop, b"x" * (256 * 1024 + 1))
    assert large.status_code == 413


async def test_a_token_of_one_store_buys_nothing(shop: LocalRegistry) -> None:
    plugin_id, client = await shop.publish(price=MONTHLY), shop.caller(store="s1")
    for path, body in (("trial", None), ("checkout", URLS), ("cancel", None)):
        refused = await client.post(f"/marketplace/{plugin_id}/licence/{path}", body)
        assert (refused.status_code, refused.json()["code"]) == (403, "wrong_store")


@pytest.mark.parametrize("changes", [{"successUrl": "javascript:alert(1)"}, {"cancelUrl": "x"}, {"card": "4242"}])
async def test_addresses_that_are_none_are_refused(shop: LocalRegistry, changes: dict[str, str]) -> None:
    plugin_id = await shop.publish(price=ONCE)
    assert (await shop.caller().post(f"/marketplace/{plugin_id}/licence/checkout", URLS | changes)).status_code == 422


async def test_where_nobody_can_pay_it_says_so(registry: LocalRegistry) -> None:
    plugin_id = await registry.publish(price=ONCE)
    refused = await registry.caller().post(f"/marketplace/{plugin_id}/licence/checkout", URLS)
    assert (refused.status_code, refused.json()["code"]) == (503, "no_payment_provider")


@pytest.mark.parametrize(
    "changes",
    [{"environment": "production", "payment_provider": "development"}, {"payment_provider": "stripe"}],
)
def test_a_registry_that_could_not_be_paid_does_not_start(registry: LocalRegistry, changes: dict[str, str]) -> None:
    settings = type(registry.settings)
    with pytest.raises(ValidationError, match="payment_provider"):
        settings(**registry.settings.model_dump() | {"secret_keys": registry.settings.secret_keys} | changes)


def test_development_believes_what_it_is_told() -> None:
    from services.registry.licences.development_payments import DevelopmentPayments
    from services.registry.licences.providers import InvalidWebhook, Paid, Subscribed

    payments = DevelopmentPayments()
    known = {"id": "1", "at": "2026-11-01T12:00:00Z", "reference": "r", "checkoutId": "c"}
    paid = payments.read(json.dumps(known | {"kind": "paid", "amount": 5, "currency": "EUR"}).encode(), {})
    assert paid.change == Paid("c", "r", 5, "EUR")
    lasts = {"kind": "subscribed", "validUntil": "2026-12-01T12:00:00Z"}
    assert isinstance(payments.read(json.dumps(known | lasts).encode(), {}).change, Subscribed)
    for wrong in ({"kind": "subscribed"}, {"kind": "stolen"}, {"kind": "paid", "at": "2026-11-01T12:00:00"}):
        with pytest.raises(InvalidWebhook):
            payments.read(json.dumps(known | wrong).encode(), {})
