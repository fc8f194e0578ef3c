"""A stand-in for Stripe: takes what its library sends, and signs webhooks as Stripe does."""

import hashlib
import hmac
import json
import time
from typing import Any
from urllib.parse import parse_qsl

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tests.registry.platform import LocalRegistry

SECRET = "whsec_of_this_endpoint"
PATH = "/api/plugins/payments/stripe/webhook"


class FakeStripe:
    """Answers the API; ``requests`` are its path, fields and headers. ``fails``: it answers with this status."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], dict[str, str]]] = []
        self.fails: int | None = None

    def app(self) -> Starlette:
        async def answer(request: Request) -> JSONResponse:
            fields = dict(parse_qsl((await request.body()).decode()))
            self.requests.append((request.url.path, fields, dict(request.headers)))
            if self.fails is not None:
                return JSONResponse({"error": {"type": "card_error", "message": "no"}}, status_code=self.fails)
            made = {"id": "cs_1", "object": "checkout.session", "url": "https://checkout.stripe.example/cs_1"}
            return JSONResponse(made if "checkout" in request.url.path else {"id": "sub_1", "object": "subscription"})

        return Starlette(routes=[Route("/{rest:path}", answer, methods=["GET", "POST"])])


def event(kind: str, told: dict[str, Any], *, event_id: str, created: int | None = None) -> bytes:
    """The body of a webhook."""
    document = {
        "id": event_id, "object": "event", "type": kind, "api_version": "2025-09-30.clover",
        "created": int(time.time()) if created is None else created, "livemode": False, "pending_webhooks": 1,
        "request": None, "data": {"object": told},
    }  # fmt: skip
    return json.dumps(document).encode()


def signature(body: bytes, *, secret: str = SECRET, at: int | None = None) -> str:
    """The ``Stripe-Signature`` of a body: HMAC-SHA256 over time and body."""
    at = int(time.time()) if at is None else at
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


async def send(registry: LocalRegistry, body: bytes, header: str | None = None) -> httpx.Response:
    """Send a webhook, signed as Stripe does unless a header is given."""
    headers = {"Stripe-Signature": signature(body) if header is None else header, "Content-Type": "application/json"}
    return await registry.http.post(PATH, content=body, headers=headers)


def session(checkout_id: str, reference: str, *, amount: int = 4900, mode: str = "payment") -> dict[str, Any]:
    """A Checkout session that was paid."""
    subscription = mode == "subscription"
    return {
        "id": f"cs_{reference}", "object": "checkout.session", "mode": mode, "payment_status": "paid",
        "client_reference_id": checkout_id, "amount_total": amount, "currency": "eur",
        "payment_intent": None if subscription else reference, "subscription": reference if subscription else None,
    }  # fmt: skip


def subscription(
    checkout_id: str, reference: str, *, until: float, status: str = "active", cancels: bool = False
) -> dict[str, Any]:
    """A subscription that is paid until then."""
    item = {"id": "si_1", "object": "subscription_item", "current_period_end": int(until)}
    return {
        "id": reference, "object": "subscription", "status": status, "cancel_at_period_end": cancels,
        "metadata": {"checkoutId": checkout_id}, "items": {"object": "list", "data": [item]},
    }  # fmt: skip
