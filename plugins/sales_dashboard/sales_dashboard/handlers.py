"""What the plugin does when: a sale is made, a dashboard asks."""

from datetime import UTC, datetime
from typing import Any

from outlet import Api, ApiError, Component, Event, Plugin, Request

from . import turnover
from .question import Question, read_question

plugin = Plugin()

CACHED_SECONDS = 30
"""Dashboards ask again and again, and many at once: for so long they get the same answer."""


def now() -> datetime:
    """The present moment."""
    return datetime.now(UTC)


@plugin.on_install
async def prepare(api: Api) -> None:
    """Make the table of hours."""
    await turnover.create_table(api)


@plugin.hook("sale.created")
async def count(api: Api, event: Event) -> None:
    """Add a completed sale, or refund, to its hour."""
    sold = turnover.turnover_of(event.data, event.store, event.time)
    if sold is not None:
        await turnover.add(api, sold)


@plugin.route("GET", "/sales")
async def read_sales(api: Api, request: Request) -> dict[str, Any]:
    """Sums by hour, day, store or employee; of the caller's store, or of all for who is of no store."""
    moment = now()
    question = read_question(request, moment.date())
    cached: dict[str, Any] | None = await api.get_data(question.key)
    if cached is not None:
        return cached
    answer = {
        "by": question.by,
        "from": question.first.isoformat(),
        "to": question.last.isoformat(),
        "asOf": moment.isoformat(),
        "rows": await turnover.summed(api, question.by, question.first, question.last, question.store),
    }
    await _cache(api, question, answer)
    return answer


async def _cache(api: Api, question: Question, answer: dict[str, Any]) -> None:
    try:
        async with api.transaction():
            await api.set_data(question.key, answer, expires_in=CACHED_SECONDS)
    except ApiError as error:
        # An answer that is too large, or one too many, is still an answer.
        if error.code not in ("value_too_large", "too_many_keys"):
            raise
        api.log("warning", "an answer is not cached", code=error.code, key=question.key)


@plugin.component("Dashboard.Widgets", priority=5)
def sales_today() -> Component:
    """The last days' sales, small."""
    return Component(title="Sales", route="/sales", bundle="sales")


@plugin.component("Reports.Dashboard", priority=5)
def sales_report() -> Component:
    """Sales by hour, day, store or employee."""
    return Component(title="Sales", route="/sales", bundle="sales")
