"""`outlet up`: the whole platform on this machine, until Ctrl-C."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from outlet.commands.console import needs_local, output

if TYPE_CHECKING:
    from outlet.local.stack import Stack


def up(directory: Path, *, port: int, workers: int, verbose: bool) -> None:
    """Run the platform until a signal ends it. Raises PlatformError when it does not start."""
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(_run(directory, port, workers, verbose))


async def _run(directory: Path, port: int, workers: int, verbose: bool) -> None:
    with needs_local():
        from outlet.commands.progress import Progress
        from outlet.local.interrupts import cancelled_by_signals
        from outlet.local.stack import Stack
    console = output()
    progress = Progress(console)
    stack = Stack(directory, port=port, workers=workers, report=progress)
    with cancelled_by_signals():
        async with _log_lines(stack.logs, console, verbose):
            progress.begin()
            try:
                async with stack:
                    progress.end()
                    _summarise(stack, console)
                    try:
                        await asyncio.Event().wait()
                    finally:
                        progress.ending()
            finally:
                progress.end()


@contextlib.asynccontextmanager
async def _log_lines(logs: Path, console: Console, wanted: bool) -> AsyncIterator[None]:
    """With ``wanted``, print what the parts write to their logs."""
    from outlet.local.logs import follow

    if not wanted:
        yield
        return

    def show(name: str, line: str) -> None:
        console.print(f"[dim]{name:<14}[/] {escape(line)}", soft_wrap=True)

    following = asyncio.create_task(follow(logs, show))
    try:
        yield
    finally:
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following


def _summarise(stack: "Stack", console: Console) -> None:
    from outlet.local.broker import NOTICE
    from outlet.local.stack import DEFAULT_DIRECTORY

    usual = stack.directory == DEFAULT_DIRECTORY.absolute()
    here = "" if usual else f" --directory {stack.directory}"
    remark = f"  [yellow]{NOTICE}[/]" if stack.embedded_broker else ""
    rows = {
        "gateway": f"[bold]{stack.gateway_url}[/]",
        "kafka": f"{stack.bootstrap}{remark}",
        "data": escape(str(stack.directory)),
        "logs": escape(str(stack.logs)),
        "try": escape(f"outlet token --role owner --org acme{here}"),
        "": escape(f"outlet publish plugins/loyalty_points --url {stack.gateway_url}{here}"),
    }
    console.print("\n[green]Outlet is up.[/] Ctrl-C stops it; its data is kept.")
    for name, value in rows.items():
        console.print(f"  {name:<8} {value}", soft_wrap=True)
    console.print()
