"""The insights process ends when it is told to, and when its stream has crashed."""

import asyncio
import signal
from typing import Any

import mode
import pytest

from services.runtime import insights


class Stream(mode.Service):
    """Stands for the Faust application, which is a service of the same kind."""

    async def stop(self) -> None:
        await asyncio.Event().wait()


@pytest.fixture
async def stream() -> Any:
    stream = Stream()
    await stream.start()
    return stream


async def test_a_stream_that_crashed_ends_the_process(stream: Any) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    watching = asyncio.create_task(insights._end_after_a_crash(stream))
    try:
        await asyncio.sleep(0)
        assert not ended.is_set()
        await stream.crash(RuntimeError("no broker will do"))
        async with asyncio.timeout(5):
            await ended.wait()
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def test_a_stream_that_does_not_stop_is_left(stream: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(insights, "STOP_SECONDS", 0.05)
    async with asyncio.timeout(5):
        await insights._stop(stream)
