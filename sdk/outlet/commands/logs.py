"""`outlet logs`: what an installation has logged lately, and what it logs from now on."""

import json
from collections.abc import Iterator

import typer
from rich.console import Console
from rich.text import Text

from outlet.commands.connection import Connection, Json
from outlet.commands.console import output

WAIT_SECONDS = 15
STYLES = {"debug": "dim", "info": "", "warning": "yellow", "error": "red"}


def logs(platform: Connection, wanted: str, *, lines: int, follow: bool, as_json: bool) -> None:
    """Print the newest ``lines``, and with ``follow`` all that come until Ctrl-C. Raises PlatformError."""
    found = platform.installation(wanted)
    console = output()
    try:
        for line in _lines(platform, found["id"], lines, follow):
            if as_json:
                typer.echo(json.dumps(line))
            else:
                show(console, line)
    except KeyboardInterrupt:
        return


def show(console: Console, line: Json) -> None:
    """Print one line of a log for people."""
    style = STYLES.get(line["level"], "")
    meta = "".join(f" {name}={json.dumps(value)}" for name, value in line["meta"].items())
    place = f" {line['storeId']}" if line["storeId"] else ""
    text = Text(f"{line['at'][11:23]} ", style="dim")
    text.append(f"{line['level']:<8}", style=style)
    text.append(f"{line['during']}{place}  ", style="dim")
    text.append(f"{line['message']}{meta}", style=style)
    console.print(text, soft_wrap=True)
    if line["stack"]:
        console.print(Text(line["stack"].rstrip(), style="dim"), soft_wrap=True)


def _lines(platform: Connection, installation: str, lines: int, follow: bool) -> Iterator[Json]:
    path = f"/api/plugins/{installation}/logs"
    page = platform.ask("GET", path, params={"limit": lines}).json()
    yield from page["lines"]
    while follow:
        asked = {"after": page["nextAfter"], "wait": WAIT_SECONDS}
        page = platform.ask("GET", path, params=asked).json()
        yield from page["lines"]
