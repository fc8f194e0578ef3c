"""What the parts of the platform write, as it comes."""

import asyncio
from collections.abc import Callable
from pathlib import Path

INTERVAL = 0.2


async def follow(directory: Path, show: Callable[[str, str], None]) -> None:
    """Call ``show(name, line)`` for every line that is added to a ``<name>.log`` in ``directory``, until cancelled."""
    positions = {path: path.stat().st_size for path in _logs(directory)}
    while True:
        for path in _logs(directory):
            positions[path] = _show_new(path, positions.get(path, 0), show)
        await asyncio.sleep(INTERVAL)  # there is no portable way to await the growth of a file


def _logs(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.log"))


def _show_new(path: Path, position: int, show: Callable[[str, str], None]) -> int:
    """Show the whole lines after ``position`` (bytes); returns where the next look begins."""
    size = path.stat().st_size
    if size == position:
        return position
    with path.open("rb") as log:
        log.seek(position if size > position else 0)  # smaller: the log was set aside and begun anew
        for line in log:
            if not line.endswith(b"\n"):
                return log.tell() - len(line)
            show(path.stem, line.decode(errors="replace").rstrip())
        return log.tell()
