"""How long the ledger remembers, by what became of an entry."""

from datetime import UTC, datetime, timedelta

import pytest

from services.runtime.delivery import ledger_retention
from services.runtime.delivery.ledger_retention import LedgerRetention, sweep
from tests.runtime.delivery.letters import Pool, keep, letter, states
from tests.runtime.installations import installation

KEPT = LedgerRetention(succeeded=timedelta(days=7), dead=timedelta(days=30))


@pytest.mark.parametrize(
    ("state", "days", "kept"),
    [
        ("succeeded", 6.9, True),
        ("succeeded", 7.1, False),
        ("dead", 29.9, True),
        ("dead", 30.1, False),
        ("discarded", 29.9, True),
        ("discarded", 30.1, False),
    ],
)
async def test_what_has_ended_goes_when_its_time_has_come(
    runtime_pool: Pool, state: str, days: float, kept: bool
) -> None:
    [entry] = await keep(runtime_pool, letter(installation()))
    ended = datetime.now(UTC) - timedelta(days=days)
    await runtime_pool.execute("UPDATE attempt_ledger SET state = $1, finished_at = $2", state, ended)
    assert await sweep(runtime_pool, KEPT) == (0 if kept else 1)
    assert await states(runtime_pool) == ({entry: state} if kept else {})


async def test_what_waits_is_never_swept(runtime_pool: Pool) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=1_000)
    [entry] = await keep(runtime_pool, letter(installation(), at=long_ago))
    await runtime_pool.execute("UPDATE attempt_ledger SET state = 'waiting', finished_at = NULL")
    assert await sweep(runtime_pool, KEPT) == 0
    assert await states(runtime_pool) == {entry: "waiting"}


async def test_much_is_swept_in_batches(runtime_pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_retention, "SWEEP_BATCH", 2)
    found = installation()
    await keep(runtime_pool, *(letter(found, at=datetime.now(UTC) - timedelta(days=31)) for _ in range(3)))
    assert [await sweep(runtime_pool, KEPT) for _ in range(2)] == [2, 1]
