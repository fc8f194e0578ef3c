"""What a contender left in PostgreSQL, held against what must have come of the events."""

from collections.abc import Sequence
from typing import Literal

import asyncpg

from bench.refusal import Refused
from bench.workload import Document, expected_balances, expected_movements
from services.runtime.isolation import act_as_platform

Home = Literal["outlet", "peer"]

_BALANCES = {
    "outlet": 'SELECT customer_id, points FROM plugin_data."loyalty_points__accounts" WHERE points <> 0',
    "peer": "SELECT customer_id, points FROM account WHERE points <> 0",
}
_MOVEMENTS = {
    "outlet": 'SELECT count(*) FROM plugin_data."loyalty_points__transactions"',
    "peer": "SELECT count(*) FROM movement",
}
_FAILED = "SELECT count(*) FROM attempt_ledger WHERE installation_id = $1 AND (failed_at IS NOT NULL OR alone)"


async def check_points(dsn: str, home: Home, documents: Sequence[Document]) -> None:
    """Raise Refused unless every customer's points are those that these sales earn, each counted once."""
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction():
            if home == "outlet":
                await act_as_platform(connection)
            balances = dict(map(tuple, await connection.fetch(_BALANCES[home])))
            movements = await connection.fetchval(_MOVEMENTS[home])
    finally:
        await connection.close()
    compare_points(balances, movements, documents)


def compare_points(balances: dict[str, int], movements: int, documents: Sequence[Document]) -> None:
    """Raise Refused unless that is what these sales earn."""
    wanted = expected_balances(documents)
    wrong = [name for name in wanted.keys() | balances.keys() if wanted.get(name, 0) != balances.get(name, 0)]
    if wrong:
        sums = f"{sum(balances.values()):,} points in all, {sum(wanted.values()):,} expected"
        raise Refused(f"the points of {len(wrong)} customers are wrong: {sums}")
    if movements != expected_movements(documents):
        raise Refused(f"{movements:,} movements of points, {expected_movements(documents):,} expected")


async def check_nothing_failed(dsn: str, installation_id: str) -> None:
    """Raise Refused when hooks of this installation failed, or their process did: they are to be tried again.

    For the probe they are through. What only waited in the ledger for its turn is no failure.
    """
    connection = await asyncpg.connect(dsn)
    try:
        count = await connection.fetchval(_FAILED, installation_id)
    finally:
        await connection.close()
    if count:
        raise Refused(f"hooks failed on {count:,} events")
