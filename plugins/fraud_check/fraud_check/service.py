"""The fraud service: what it is asked, and what it may answer."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from outlet import Api

URL = "https://api.fraud.example.com/v1/assessments"
SECONDS = 3.0
"""Less than the hook has, so that a slow service is told from a slow plugin."""
TRY_AGAIN = frozenset({401, 403, 408, 425, 429})
"""Beside 5xx: what a later attempt, or another key, may get through."""


class ServiceFailed(Exception):
    """There is no verdict, and a later attempt may get one."""


class UnreadableAnswer(ValueError):
    """The service's answer is none; the message says why."""


class SaleRefused(Exception):
    """The service will never judge this sale; the message says why."""


@dataclass(frozen=True)
class Assessment:
    """``score``: how risky the sale is, from 0 to 100. ``reference``: what the service calls its assessment."""

    score: Decimal
    reference: str | None


async def assess(api: Api, store: str, sale: Mapping[str, Any], total: Decimal) -> Assessment:
    """Ask about a sale, once: the service knows a repeated question by its Idempotency-Key.

    Raises :class:`ServiceFailed`, :class:`SaleRefused`, and what :meth:`outlet.Api.fetch` raises.
    """
    response = await api.fetch(
        URL,
        method="POST",
        headers={
            "Authorization": f"Bearer {api.secret('apiKey')}",
            "Idempotency-Key": idempotency_key(api.organization, store, sale["id"]),
        },
        json=question(store, sale, total),
        timeout=SECONDS,
    )
    if response.status in TRY_AGAIN or response.status >= 500:
        raise ServiceFailed(f"the fraud service answered {response.status}")
    if not response.ok:
        raise SaleRefused(f"the fraud service answered {response.status}")
    try:
        return read_assessment(response.json())
    except ValueError as error:
        raise ServiceFailed(f"the fraud service's answer cannot be read: {error}") from error


def question(store: str, sale: Mapping[str, Any], total: Decimal) -> dict[str, Any]:
    """What the service is told: of the sale, and nothing of its customer but the id."""
    return {
        "saleId": sale["id"],
        "storeId": store,
        "total": str(total),
        "currency": sale.get("currency"),
        "channel": sale.get("channel"),
        "customerId": sale.get("customerId"),
        "tenders": [tender.get("method") for tender in sale.get("tenders") or []],
    }


def idempotency_key(organization: str, store: str, sale: str) -> str:
    """The same for every attempt, also for one that is replayed weeks later.

    The platform's own key follows from the event; a sale whose till publishes it again under another event is still
    the same sale. Hashed, because ids may contain what a header may not.
    """
    return hashlib.sha256("\0".join((organization, store, sale)).encode()).hexdigest()


def read_assessment(answer: Any) -> Assessment:
    """Read ``{"score": 0 to 100, "reference"?: text}``. Raises :class:`UnreadableAnswer`."""
    if not isinstance(answer, Mapping):
        raise UnreadableAnswer("it is no object")
    score, reference = answer.get("score"), answer.get("reference")
    if not isinstance(score, int | Decimal) or isinstance(score, bool) or not 0 <= score <= 100:
        raise UnreadableAnswer(f"score must be a number from 0 to 100, not {score!r}")
    if reference is not None and not (isinstance(reference, str) and reference.isprintable() and len(reference) <= 200):
        raise UnreadableAnswer("reference must be a printable text of at most 200 characters")
    return Assessment(Decimal(score), reference)
