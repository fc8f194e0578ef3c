"""Work that runs beside the requests of an HTTP service for as long as the service does."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import structlog

log = structlog.get_logger(__name__)


@asynccontextmanager
async def running(**work: Coroutine[Any, Any, None]) -> AsyncIterator[Callable[[], bool]]:
    """Run ``work``, by name, until exit, then cancel it and wait for its end.

    Yields a readiness check: false once any of it ended by itself, which is a defect and is logged.
    """
    tasks = [asyncio.create_task(each, name=name) for name, each in work.items()]
    for task in tasks:
        task.add_done_callback(_report)
    try:
        yield lambda: not any(task.done() for task in tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _report(task: "asyncio.Task[None]") -> None:
    if not task.cancelled():
        log.error("background work ended", work=task.get_name(), exc_info=task.exception())
