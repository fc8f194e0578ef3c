"""Signatures as Standard Webhooks has them (https://www.standardwebhooks.com), by its own library."""

import secrets
from base64 import b64encode
from collections.abc import Sequence
from datetime import datetime

from standardwebhooks import Webhook

SECRET_BYTES = 32


def new_secret() -> str:
    """A secret to sign with: ``whsec_`` and Base64."""
    return f"whsec_{b64encode(secrets.token_bytes(SECRET_BYTES)).decode()}"


def signed_headers(delivery_id: str, payload: bytes, keys: Sequence[str], at: datetime) -> list[tuple[str, str]]:
    """The headers of one attempt, with one signature for each of ``keys``. ``at`` is aware."""
    text = payload.decode()
    return [
        ("webhook-id", delivery_id),
        ("webhook-timestamp", str(int(at.timestamp()))),
        ("webhook-signature", " ".join(Webhook(key).sign(delivery_id, at, text) for key in keys)),
    ]
