"""Points in the plugin's own tables: one account per customer, one row per movement.

A movement's ``points`` carry their sign, so that an account is always the sum of its movements. The calls of one
handler are one transaction: the account and the movement change together or not at all.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from outlet import Api, ApiError, Problem, column

ACCOUNTS = "accounts"
TRANSACTIONS = "transactions"


async def create_tables(api: Api) -> None:
    """Make both tables; existing ones stay as they are."""
    await api.create_table(
        ACCOUNTS,
        {"customer_id": column.text(), "points": column.integer(default=0)},
        unique=[["customer_id"]],
    )
    await api.create_table(
        TRANSACTIONS,
        {
            "customer_id": column.text(),
            "kind": column.text(),
            "points": column.integer(),
            "sale_id": column.text(nullable=True),
            "reference": column.text(nullable=True),
            "at": column.timestamp(),
        },
        unique=[["customer_id", "reference"]],
        indexes=[["customer_id", "at"]],
    )


async def post_sale(api: Api, customer: str, points: int, *, sale: str, at: datetime) -> int:
    """Give (or, for a refund, take back) a sale's points; returns the new balance, which a refund may turn negative."""
    account = await api.table(ACCOUNTS).upsert({"customer_id": customer}, increment={"points": points})
    kind = "earned" if points > 0 else "reversed"
    await api.table(TRANSACTIONS).create(
        {"customer_id": customer, "kind": kind, "points": points, "sale_id": sale, "at": at}
    )
    return int(account["points"])


async def redeem(api: Api, customer: str, points: int, *, reference: str | None, at: datetime) -> int:
    """Take points that the account has; returns the new balance.

    Raises :class:`Problem` 409 ``insufficient_points`` when it has fewer, and 409 ``concurrent_redemption`` when
    another request has used the reference since :func:`earlier_redemption` was asked.
    """
    # The condition is part of the update: of two tills that redeem at once, the second sees what the first left.
    changed = await api.table(ACCOUNTS).update(
        {"customer_id": customer, "points": {"gte": points}}, increment={"points": -points}
    )
    if not changed:
        raise Problem(409, "insufficient_points", f"The customer has fewer than {points} points.")
    entry = {"customer_id": customer, "kind": "redeemed", "points": -points, "reference": reference, "at": at}
    try:
        await api.table(TRANSACTIONS).create(entry)
    except ApiError as error:
        if error.code != "unique_violation":
            raise
        raise Problem(
            409, "concurrent_redemption", "This redemption was just made by another request; repeat it."
        ) from error
    return int(changed[0]["points"])


async def earlier_redemption(api: Api, customer: str, reference: str) -> int | None:
    """The points already redeemed under this reference, or None."""
    found = await api.table(TRANSACTIONS).find_one({"customer_id": customer, "reference": reference})
    return None if found is None else -int(found["points"])


async def balance(api: Api, customer: str) -> int:
    """The customer's points; 0 for one who never earned any."""
    account = await api.table(ACCOUNTS).find_one({"customer_id": customer})
    return 0 if account is None else int(account["points"])


async def recent(api: Api, customer: str, *, limit: int = 20) -> list[Mapping[str, Any]]:
    """The customer's last movements, newest first."""
    return list(await api.table(TRANSACTIONS).find({"customer_id": customer}, sort=["-at"], limit=limit))
