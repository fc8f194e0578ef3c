"""What is known of each sale that was asked about: one row per sale."""

from datetime import datetime
from typing import Any, Literal

from outlet import Api, column

from .service import Assessment

VERDICTS = "verdicts"
Verdict = Literal["clear", "flagged", "refused"]


async def create_table(api: Api) -> None:
    """Make the table; an existing one stays as it is."""
    await api.create_table(
        VERDICTS,
        {
            "store": column.text(),
            "sale": column.text(),
            "verdict": column.text(),
            "score": column.decimal(nullable=True),
            "reference": column.text(nullable=True),
            "reason": column.text(nullable=True),
            "at": column.timestamp(),
        },
        unique=[["store", "sale"]],
    )


async def keep(api: Api, store: str, sale: str, verdict: Verdict, assessment: Assessment, at: datetime) -> None:
    """Keep the service's answer, in place of an earlier one about the same sale."""
    values = {
        "verdict": verdict,
        "score": assessment.score,
        "reference": assessment.reference,
        "reason": None,
        "at": at,
    }
    await api.table(VERDICTS).upsert({"store": store, "sale": sale}, values)


async def keep_refusal(api: Api, store: str, sale: str, reason: str, at: datetime) -> None:
    """Keep that the service does not judge this sale."""
    values = {"verdict": "refused", "score": None, "reference": None, "reason": reason, "at": at}
    await api.table(VERDICTS).upsert({"store": store, "sale": sale}, values)


async def of_sale(api: Api, store: str, sale: str) -> dict[str, Any] | None:
    """The row of a sale, or None when there is no verdict."""
    return await api.table(VERDICTS).find_one({"store": store, "sale": sale})
