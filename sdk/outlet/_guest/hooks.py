"""Runs the hooks of the events that come many at a time."""

import asyncio
import time
from collections import deque
from contextvars import copy_context
from typing import Protocol

from outlet._calls import HookCall
from outlet._frames import Events

TOLD_AT = 32
"""Hooks that end before the worker is told of them, so that it sends on while the others run."""
TOLD_SECONDS = 0.005
"""The same for hooks that take long without waiting for anything."""


class Runner(Protocol):
    """Runs one hook to its end and tells the worker."""

    async def run_hook(self, number: int, event: HookCall, scope: int) -> None:
        """Run the hook for ``event``."""

    def flush(self) -> None:
        """Write what there is to tell now."""


class HookQueue:
    """Begins hooks in the order of their events, as many at once as the worker says.

    A task takes one event after the other: hooks that wait for nothing cost no task each. While one waits, the other
    tasks go on.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._waiting: deque[tuple[int, HookCall, int]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._working = 0
        """Tasks that will look for another event. Those that have just found none are still among ``_tasks``."""
        self._clean = copy_context()
        self._at_once = 1
        self._untold = 0
        self._told_at = 0.0

    def add(self, frame: Events) -> None:
        """Take the events of a frame; this returns at once."""
        self._waiting.extend((number, event, frame.scope) for number, event in enumerate(frame.events, frame.first))
        self._at_once = frame.at_once
        for _ in range(min(self._at_once - self._working, len(self._waiting))):
            self._start()

    def _start(self) -> None:
        self._working += 1
        task = asyncio.create_task(self._work(), context=self._clean.copy())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  this is one
        try:
            while self._waiting:
                number, event, scope = self._waiting.popleft()
                await self._runner.run_hook(number, event, scope)
                if task.cancelling() or copy_context() != self._clean:
                    # What the plugin has done to this task or its context is not for the next event.
                    break
                await self._tell()
        finally:  # also when the plugin cancels this task later, in the midst of another event
            self._working -= 1
            if self._waiting:
                self._start()

    async def _tell(self) -> None:
        now = time.monotonic()
        if self._untold == 0:
            self._told_at = now
        self._untold += 1
        if self._untold >= TOLD_AT or now - self._told_at > TOLD_SECONDS:
            self._untold = 0
            self._runner.flush()
            await asyncio.sleep(0)
