"""What a worker that hangs leaves behind at the database."""

import asyncio

import asyncpg

from services.runtime.sessions import MARGIN_SECONDS, session_settings

CLAIM = (
    "INSERT INTO inbox (installation_id, target, source, id) VALUES ('i', 'sale.created', 's', 'e') "
    "ON CONFLICT DO NOTHING"
)


async def test_event_of_a_frozen_worker_is_free_for_others_once_no_call_can_still_run(runtime_dsn: str) -> None:
    """The frozen one has claimed the event and does nothing more; it does not even end its connection."""
    longest_call = 0.5
    frozen = await asyncpg.connect(runtime_dsn, server_settings=session_settings(longest_call))
    other = await asyncpg.connect(runtime_dsn)
    try:
        await frozen.execute("BEGIN")
        await frozen.execute(CLAIM)
        begun = asyncio.get_running_loop().time()
        async with asyncio.timeout(longest_call + MARGIN_SECONDS + 10):
            claimed = await other.execute(CLAIM)  # waits for the frozen one's transaction
        assert claimed == "INSERT 0 1"
        assert asyncio.get_running_loop().time() - begun > longest_call
    finally:
        frozen.terminate()
        await other.close()
