"""Following the logs of the platform."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from outlet.local.logs import follow


@contextlib.asynccontextmanager
async def followed(directory: Path) -> AsyncIterator[asyncio.Queue[tuple[str, str]]]:
    lines: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
    following = asyncio.create_task(follow(directory, lambda name, line: lines.put_nowait((name, line))))
    await asyncio.sleep(0)  # the first look, which tells old lines from new ones
    yield lines
    following.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await following


async def test_only_new_and_whole_lines_are_shown(tmp_path: Path) -> None:
    log = tmp_path / "gateway.log"
    log.write_text("of yesterday\n")
    async with asyncio.timeout(5), followed(tmp_path) as lines:
        with log.open("a") as writer:
            writer.write("one\nhal")
        assert await lines.get() == ("gateway", "one")
        with log.open("a") as writer:
            writer.write("f\n")
        assert await lines.get() == ("gateway", "half")


async def test_log_that_appears_later_or_begins_anew_is_followed(tmp_path: Path) -> None:
    log = tmp_path / "registry.log"
    async with asyncio.timeout(5), followed(tmp_path) as lines:
        log.write_text("first\n")
        assert await lines.get() == ("registry", "first")
        log.write_text("new\n")
        assert await lines.get() == ("registry", "new")
