"""That the battery ends processes without the event loop's losing sight of them."""

import asyncio
import os
import signal

import pytest

from tests.attacks import processes


async def test_a_child_that_has_just_ended_keeps_its_status(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(100):
        child = await asyncio.create_subprocess_exec("sleep", "600")
        os.kill(child.pid, signal.SIGKILL)
        while child.returncode is None:
            processes.kill(child)
            await asyncio.sleep(0)
        assert child.returncode == -signal.SIGKILL
    assert caplog.records == []
