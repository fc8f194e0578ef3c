"""`outlet dead-letters`: the options of its subcommands."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from outlet.commands.token import parse_lifetime

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Ids = Annotated[list[int] | None, typer.Argument(min=1, metavar="ID", help="Letters by their ids.")]
Plugin = Annotated[str | None, typer.Option(help="Of this plugin.")]
Version = Annotated[str | None, typer.Option(help="Failed by this version of it.")]
Installation = Annotated[str | None, typer.Option(help="Of this installation.")]
Store = Annotated[str | None, typer.Option(help="Events of this store.")]
Event = Annotated[str | None, typer.Option(help="Events of this type, as in sale.created.")]
Code = Annotated[str | None, typer.Option(help="Failed with this code, as in plugin_raised.")]
Error = Annotated[str | None, typer.Option(help="With this text in the message.")]
Since = Annotated[str | None, typer.Option(help="Failed then or later: 2h (ago), or a time such as 2026-11-01T12:00Z.")]
Until = Annotated[str | None, typer.Option(help="Failed before; as --since.")]
All = Annotated[bool, typer.Option("--all", help="Every dead letter; instead of ids and filters.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say how many.")]

Url = Annotated[str, typer.Option(envvar="OUTLET_URL", help="The platform's gateway.")]
Token = Annotated[str | None, typer.Option(envvar="OUTLET_TOKEN", help="An access token of the organization.")]
Org = Annotated[str | None, typer.Option(help="Instead of a token, for the platform on this machine.")]
Directory = Annotated[Path, typer.Option(help="Where the platform on this machine keeps its keys.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

GATEWAY = "http://127.0.0.1:8080"
LOCAL_DIRECTORY = Path(".outlet")
EXIT = "Exit status: 0 done, 1 refused or no answer, 2 wrong usage."


@app.command("list", epilog=f"Example: outlet dead-letters list --plugin loyalty-points --since 2h. {EXIT}")
def list_letters(
    plugin: Plugin = None,
    version: Version = None,
    installation: Installation = None,
    store: Store = None,
    event: Event = None,
    code: Code = None,
    error: Error = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, help="The most to show.")] = 50,
    url: Url = GATEWAY,
    token: Token = None,
    org: Org = None,
    directory: Directory = LOCAL_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Show dead letters, the newest first."""
    from outlet.commands import dead_letter_work as work

    wanted = _filter(plugin, version, installation, store, event, code, error, since, until)
    work.show_list(work.connect(url, token, org, directory), wanted, limit, as_json=as_json)


@app.command(epilog=f"Example: outlet dead-letters show 42. {EXIT}")
def show(
    letter: Annotated[int, typer.Argument(min=1, metavar="ID")],
    url: Url = GATEWAY,
    token: Token = None,
    org: Org = None,
    directory: Directory = LOCAL_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Show one dead letter: its error and its payload, without what its plugin may not see."""
    from outlet.commands import dead_letter_work as work

    work.show_one(work.connect(url, token, org, directory), letter, as_json=as_json)


@app.command(
    epilog="Examples: outlet dead-letters replay 42; outlet dead-letters replay --plugin loyalty-points --code "
    "plugin_raised --dry-run. Exit status: 0 all succeeded (or not waited for), 1 refused, no answer, or some are dead "
    "letters again, 2 wrong usage, 3 some still wait to be tried."
)
def replay(
    ids: Ids = None,
    plugin: Plugin = None,
    version: Version = None,
    installation: Installation = None,
    store: Store = None,
    event: Event = None,
    code: Code = None,
    error: Error = None,
    since: Since = None,
    until: Until = None,
    everything: All = False,
    dry_run: DryRun = False,
    wait: Annotated[str, typer.Option(help="How long to watch it: 30s, 5m, 1h; or none.")] = "5m",
    url: Url = GATEWAY,
    token: Token = None,
    org: Org = None,
    directory: Directory = LOCAL_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Have the plugins that failed try letters again, and show how far it is. Nothing takes effect twice."""
    from outlet.commands import dead_letter_work as work

    asked = _filter(plugin, version, installation, store, event, code, error, since, until)
    selection = _selection(ids, asked, everything=everything)
    seconds = 0.0 if wait == "none" else parse_lifetime(wait).total_seconds()
    platform = work.connect(url, token, org, directory)
    raise typer.Exit(work.replay(platform, selection, seconds, dry_run=dry_run, as_json=as_json))


@app.command(epilog=f"Example: outlet dead-letters progress 0123456789abcdef0123456789abcdef. {EXIT}")
def progress(
    replay_id: Annotated[str, typer.Argument(metavar="REPLAY", help="What replay printed.")],
    url: Url = GATEWAY,
    token: Token = None,
    org: Org = None,
    directory: Directory = LOCAL_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Show how far a replay is."""
    from outlet.commands import dead_letter_work as work

    work.show_progress(work.connect(url, token, org, directory), replay_id, as_json=as_json)


@app.command(epilog=f"Examples: outlet dead-letters discard 42; outlet dead-letters discard --plugin old --yes. {EXIT}")
def discard(
    ids: Ids = None,
    plugin: Plugin = None,
    version: Version = None,
    installation: Installation = None,
    store: Store = None,
    event: Event = None,
    code: Code = None,
    error: Error = None,
    since: Since = None,
    until: Until = None,
    everything: All = False,
    dry_run: DryRun = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    url: Url = GATEWAY,
    token: Token = None,
    org: Org = None,
    directory: Directory = LOCAL_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Give letters up: their events are never tried again."""
    from outlet.commands import dead_letter_work as work

    asked = _filter(plugin, version, installation, store, event, code, error, since, until)
    selection = _selection(ids, asked, everything=everything)
    platform = work.connect(url, token, org, directory)
    work.discard(platform, selection, dry_run=dry_run, ask=not yes and ids is None, as_json=as_json)


def _filter(
    plugin: str | None,
    version: str | None,
    installation: str | None,
    store: str | None,
    event: str | None,
    code: str | None,
    error: str | None,
    since: str | None,
    until: str | None,
) -> dict[str, str]:
    """The options as the members of a filter."""
    asked = {
        "pluginId": plugin,
        "version": version,
        "installationId": installation,
        "storeId": store,
        "event": event,
        "code": code,
        "error": error,
        "since": since and as_time(since),
        "until": until and as_time(until),
    }
    return {name: value for name, value in asked.items() if value is not None}


def _selection(ids: list[int] | None, asked: dict[str, str], *, everything: bool) -> dict[str, Any]:
    """What the gateway is to take. Raises typer.BadParameter unless it was said in exactly one way."""
    if sum((bool(ids), bool(asked), everything)) != 1:
        raise typer.BadParameter("say which letters: ids, or filters, or --all")
    return {"ids": ids} if ids else {"filter": asked}


def as_time(text: str) -> str:
    """A time of RFC 3339 as it is; ``2h`` as the time so long ago. Raises typer.BadParameter."""
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        moment = datetime.now(UTC) - parse_lifetime(text)
    if moment.tzinfo is None:
        raise typer.BadParameter(f"{text!r} does not say its time zone, as in 2026-11-01T12:00Z")
    return moment.isoformat()
