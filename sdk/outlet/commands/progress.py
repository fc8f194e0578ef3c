"""How the start and the life of the platform look in a terminal, and in a pipe."""

from rich.console import Console
from rich.markup import escape
from rich.status import Status

from outlet.local.keeper import Report


class Progress:
    """Prints a line per part that is ready, has died or has ended; shows what is being waited for in a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status = Status("Starting ...", console=console)
        self._starting: dict[str, None] = {}
        self._ending = False

    def begin(self) -> None:
        """Show what is being waited for from now on."""
        self._status.start()

    def end(self) -> None:
        """Show it no longer."""
        self._status.stop()

    def ending(self) -> None:
        """The platform is being stopped: parts that end do as they were told."""
        self._ending = True
        self._status.update("Stopping ...")
        self._status.start()

    def __call__(self, report: Report) -> None:
        name = f"{report.part:<14}"
        match report.state:
            case "starting":
                self._starting[report.part] = None
            case "ready":
                self._starting.pop(report.part, None)
                self._console.print(f"  [green]ready[/]    {name} [dim]{report.seconds:.1f} s[/]")
            case "died":
                self._starting.pop(report.part, None)
                self._console.print(f"  [yellow]died[/]     {name} starting it again; {escape(report.detail)}")
            case "stopped":
                self._console.print(f"  [dim]stopped[/]  {name}")
        if self._starting and not self._ending:
            self._status.update(f"Starting {', '.join(self._starting)} ...")
