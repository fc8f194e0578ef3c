"""The loop of whoever leases rows to work on: a look at what is due, and leases kept until the work has ended."""

import asyncio
from collections.abc import Awaitable, Callable, Sized

import structlog

from services.common.database import DATABASE_ERRORS

log = structlog.get_logger(__name__)

POLL_SECONDS = 0.25


async def take_turns(
    turn: Callable[[], Awaitable[Sized | int]],
    renew: Callable[[], Awaitable[None]],
    moved: asyncio.Event,
    *,
    of: str,
    renew_seconds: float,
) -> None:
    """Take turns until cancelled: the next one at once after one that started something, else soon, or when ``moved``.

    ``turn`` gives what it has started, ``renew`` keeps the leases of what runs. A database that is away delays both;
    ``of`` says in the log what is waiting for it.
    """
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_renew_regularly(renew, of, renew_seconds))
        while True:
            try:
                started = await turn()
            except DATABASE_ERRORS as error:
                log.warning("not looked at, trying again", what=of, error=repr(error))
                started = 0
            if not started:
                await _set_or_later(moved)


async def _renew_regularly(renew: Callable[[], Awaitable[None]], of: str, seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await renew()
        except DATABASE_ERRORS as error:
            log.warning("leases not renewed, trying again", what=of, error=repr(error))


async def _set_or_later(moved: asyncio.Event) -> None:
    moved.clear()
    try:
        async with asyncio.timeout(POLL_SECONDS):
            await moved.wait()
    except TimeoutError:
        return
