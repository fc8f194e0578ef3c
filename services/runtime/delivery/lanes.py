"""Order where it matters: work of one lane runs one after the other, lanes run beside each other."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable


class Lanes:
    """A lane is (installation, record key); it exists only while it has work."""

    def __init__(self) -> None:
        self._last: dict[Hashable, asyncio.Task[None]] = {}
        self._running: set[asyncio.Task[None]] = set()

    def submit(self, lane: Hashable, work: Callable[[], Awaitable[None]]) -> "asyncio.Task[None]":
        """Run ``work`` once everything submitted to this lane before has ended, however it ended."""
        before = self._last.get(lane)
        task = asyncio.create_task(self._run(before, work))
        self._last[lane] = task
        self._running.add(task)
        task.add_done_callback(lambda done: self._leave(lane, done))
        return task

    async def close(self) -> None:
        """Cancel what still runs and wait for it to be gone."""
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    @staticmethod
    async def _run(before: "asyncio.Task[None] | None", work: Callable[[], Awaitable[None]]) -> None:
        if before is not None:
            await asyncio.wait([before])
        await work()

    def _leave(self, lane: Hashable, task: "asyncio.Task[None]") -> None:
        self._running.discard(task)
        if self._last.get(lane) is task:
            del self._last[lane]
