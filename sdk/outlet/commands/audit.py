"""`outlet audit`: the options of its subcommands."""

from pathlib import Path
from typing import Annotated

import typer

from outlet.commands.dead_letters import (
    EXIT,
    GATEWAY,
    LOCAL_DIRECTORY,
    AsJson,
    Directory,
    Org,
    Since,
    Token,
    Until,
    as_time,
)

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Url = Annotated[str, typer.Option(envvar="OUTLET_URL", help="The platform's gateway.")]


@app.command("list", epilog=f"Example: outlet audit list --action installation.activate --since 7d. {EXIT}")
def list_entries(
    action: Annotated[str | None, typer.Option(help="Of this action, as in installation.activate.")] = None,
    subject: Annotated[str | None, typer.Option(help="Done by this one.")] = None,
    plugin: Annotated[str | None, typer.Option(help="Done to this plugin.")] = None,
    installation: Annotated[str | None, typer.Option(help="Done to this installation.")] = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, help="The most to show.")] = 50,
    url: Url = GATEWAY,
    token: Token = None,
    org: Org = None,
    directory: Directory = LOCAL_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Show what was done, the newest first."""
    from outlet.commands import audit_work as work

    asked = {
        "action": action,
        "subject": subject,
        "pluginId": plugin,
        "installationId": installation,
        "since": since and as_time(since),
        "until": until and as_time(until),
    }
    wanted = {name: value for name, value in asked.items() if value is not None}
    work.show_list(work.connect(url, token, org, directory), wanted, limit, as_json=as_json)


@app.command(epilog=f"Example: outlet audit export --output audit.jsonl. {EXIT}")
def export(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write; default: standard output.")
    ] = None,
    url: Url = GATEWAY,
    token: Token = None,
    org: Org = None,
    directory: Directory = LOCAL_DIRECTORY,
) -> None:
    """Write the whole log as JSON Lines, oldest first, each entry as it was hashed. Kept elsewhere, it is proof."""
    from outlet.commands import audit_work as work

    work.export(work.connect(url, token, org, directory), output)


@app.command(
    epilog="Examples: outlet audit verify; outlet audit verify --file audit.jsonl. Exit status: 0 whole, 1 refused or "
    "no answer, 2 wrong usage, 3 broken."
)
def verify(
    file: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="An exported log; it is checked here, and nobody is asked."),
    ] = None,
    url: Url = GATEWAY,
    token: Token = None,
    org: Org = None,
    directory: Directory = LOCAL_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Recompute the chain of the log, and name the first entry that is changed, missing or out of its place."""
    from outlet.commands import audit_work as work

    found = work.check_file(file) if file else work.ask_verification(work.connect(url, token, org, directory))
    raise typer.Exit(work.show_verification(found, as_json=as_json))
