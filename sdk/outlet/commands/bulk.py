"""`outlet bulk`: the options of its subcommands."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from outlet.commands.dead_letters import GATEWAY, LOCAL_DIRECTORY, AsJson, Directory, Org, Token
from outlet.commands.token import parse_lifetime

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

EXIT = (
    "Exit status: 0 all done (or not waited for), 1 refused or no answer, 2 wrong usage, 3 some stores failed, or were "
    "not done in time."
)

Plugin = Annotated[str, typer.Argument(help="The plugin's id.")]
Stores = Annotated[str, typer.Option(help="Stores by their ids, as in a,b,c.")]
Regions = Annotated[list[str] | None, typer.Option("--region", help="All stores of a region; can be repeated.")]
Version = Annotated[str | None, typer.Option(help="Default: the latest release.")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="A setting, as in --set goal=500.")]
Grants = Annotated[
    list[str] | None, typer.Option("--grant", help="What is granted, all of it; default: as without bulk.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would happen in each store.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Wait = Annotated[str, typer.Option(help="How long to watch it: 30s, 5m, 1h; or none.")]
Cascade = Annotated[bool, typer.Option("--cascade", help="Do the same with what needs it, first.")]
Job = Annotated[str, typer.Argument(metavar="JOB", help="What the job's beginning printed.")]
Url = Annotated[str, typer.Option(envvar="OUTLET_URL", help="The platform's gateway.")]


@app.command(epilog=f"Example: outlet bulk install loyalty-points --stores a,b --region north --yes. {EXIT}")
def install(
    plugin: Plugin,
    stores: Stores = "",
    regions: Regions = None,
    version: Version = None,
    settings: Settings = None,
    grants: Grants = None,
    activate: Annotated[bool, typer.Option(help="Switch it on.")] = True,
    with_dependencies: Annotated[bool, typer.Option("--with-dependencies", help="What it needs, too.")] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    wait: Wait = "10m",
    url: Url = GATEWAY,
    token: Token = None,
    org: Org = None,
    directory: Directory = LOCAL_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Install a plugin in many stores, and switch it on."""
    wanted = _wanted("install", plugin, stores, regions, version=version, grants=grants, dry_run=dry_run)
    wanted |= {"config": _config(settings)} if settings else {}
    wanted |= {"options": {"activate": activate, "withDependencies": with_dependencies}}
    _carry_out(wanted, wait, url, token, org, directory, yes=yes, as_json=as_json)


@app.command(epilog=f"Example: outlet bulk update loyalty-points --region north --version 1.2.0 --yes. {EXIT}")
def update(
    plugin: Plugin,
    stores: Stores = "",
    regions: Regions = None,
    version: Version = None,
    grants: Grants = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    wait: Wait = "10m",
    url: Url = GATEWAY,
    token: Token = None,
    org: Org = None,
    directory: Directory = LOCAL_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Update a plugin in many stores, all of them at once; a roll-out does it in stages."""
    wanted = _wanted("update", plugin, stores, regions, version=version, grants=grants, dry_run=dry_run)
    _carry_out(wanted, wait, url, token, org, directory, yes=yes, as_json=as_json)


@app.command(epilog=f"Example: outlet bulk configure loyalty-points --region north --set goal=500 --yes. {EXIT}")
def configure(
    plugin: Plugin,
    settings: Annotated[list[str], typer.Option("--set", help="A setting of the whole configuration.")],
    stores: Stores = "",
    regions: Regions = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    wait: Wait = "10m",
    url: Url = GATEWAY,
    token: Token = None,
    org: Org = None,
    directory: Directory = LOCAL_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Give many stores the same configuration, in the place of the one that they have."""
    wanted = _wanted("configure", plugin, stores, regions, dry_run=dry_run) | {"config": _config(settings)}
    _carry_out(wanted, wait, url, token, org, directory, yes=yes, as_json=as_json)


@app.command(epilog=f"Example: outlet bulk rollback loyalty-points --region north --version 1.2.0 --yes. {EXIT}")
def rollback(
    plugin: Plugin,
    stores: Stores = "",
    regions: Regions = None,
    version: Annotated[str | None, typer.Option(help="Only where this version is, which is left.")] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    wait: Wait = "10m",
    url: Url = GATEWAY,
    token: Token = None,
    org: Org = None,
    directory: Directory = LOCAL_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Take many stores back to the version before their last update."""
    wanted = _wanted("rollback", plugin, stores, regions, version=version, dry_run=dry_run)
    _carry_out(wanted, wait, url, token, org, directory, yes=yes, as_json=as_json)


@app.command(epilog=f"Example: outlet bulk activate loyalty-points --stores a,b --yes. {EXIT}")
def activate(
    plugin: Plugin,
    stores: Stores = "",
    regions: Regions = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    wait: Wait = "10m",
    url: Url = GATEWAY,
    token: Token = None,
    org: Org = None,
    directory: Directory = LOCAL_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Switch a plugin on in many stores."""
    wanted = _wanted("activate", plugin, stores, regions, dry_run=dry_run)
    _carry_out(wanted, wait, url, token, org, directory, yes=yes, as_json=as_json)


@app.command(epilog=f"Example: outlet bulk deactivate loyalty-points --stores a,b --backlog drain --yes. {EXIT}")
def deactivate(
    plugin: Plugin,
    stores: Stores = "",
    regions: Regions = None,
    backlog: Annotated[
        Literal["pause", "drain", "discard"], typer.Option(help="What becomes of events that wait.")
    ] = "pause",
    cascade: Cascade = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    wait: Wait = "10m",
    url: Url = GATEWAY,
    token: Token = None,
    org: Org = None,
    directory: Directory = LOCAL_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Switch a plugin off in many stores."""
    wanted = _wanted("deactivate", plugin, stores, regions, dry_run=dry_run)
    wanted |= {"options": {"backlog": backlog, "cascade": cascade}}
    _carry_out(wanted, wait, url, token, org, directory, yes=yes, as_json=as_json)


@app.command(epilog=f"Example: outlet bulk uninstall loyalty-points --region north --data keep --yes. {EXIT}")
def uninstall(
    plugin: Plugin,
    stores: Stores = "",
    regions: Regions = None,
    data: Annotated[
        Literal["drop", "keep", "export"] | None,
        typer.Option(help="What becomes of what it stored; default: as asked at the last attempt, else dropped."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Even where onUninstall fails.")] = False,
    cascade: Cascade = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    wait: Wait = "10m",
    url: Url = GATEWAY,
    token: Token = None,
    org: Org = None,
    directory: Directory = LOCAL_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Remove a plugin that is switched off from many stores."""
    wanted = _wanted("uninstall", plugin, stores, regions, dry_run=dry_run)
    wanted |= {"options": {"data": data, "force": force, "cascade": cascade}}
    _carry_out(wanted, wait, url, token, org, directory, yes=yes, as_json=as_json)


@app.command(epilog=f"Example: outlet bulk show 0123abcd-... {EXIT}")
def show(
    job: Job,
    url: Url = GATEWAY,
    token: Token = None,
    org: Org = None,
    directory: Directory = LOCAL_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Show how far a job is, and the stores that failed."""
    from outlet.commands import bulk_work as work

    platform = work.connect(url, token, org, directory)
    raise typer.Exit(work.follow(platform, work.read(platform, job), 0.0, as_json=as_json))


@app.command(epilog=f"Example: outlet bulk cancel 0123abcd-... {EXIT}")
def cancel(
    job: Job,
    url: Url = GATEWAY,
    token: Token = None,
    org: Org = None,
    directory: Directory = LOCAL_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Leave undone what has not begun."""
    from outlet.commands import bulk_work as work

    platform = work.connect(url, token, org, directory)
    raise typer.Exit(work.follow(platform, work.ask(platform, job, "cancel"), 0.0, as_json=as_json))


@app.command(epilog=f"Example: outlet bulk retry 0123abcd-... {EXIT}")
def retry(
    job: Job,
    wait: Wait = "10m",
    url: Url = GATEWAY,
    token: Token = None,
    org: Org = None,
    directory: Directory = LOCAL_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Try the stores again that failed."""
    from outlet.commands import bulk_work as work

    platform = work.connect(url, token, org, directory)
    raise typer.Exit(work.follow(platform, work.ask(platform, job, "retry"), _seconds(wait), as_json=as_json))


def _carry_out(
    wanted: dict[str, Any],
    wait: str,
    url: str,
    token: str | None,
    org: str | None,
    directory: Path,
    *,
    yes: bool,
    as_json: bool,
) -> None:
    from outlet.commands import bulk_work as work

    platform = work.connect(url, token, org, directory)
    raise typer.Exit(work.carry_out(platform, wanted, _seconds(wait), consent=yes, as_json=as_json))


def _wanted(
    action: str, plugin: str, stores: str, regions: list[str] | None, *, dry_run: bool, **members: Any
) -> dict[str, Any]:
    """A request. Raises typer.BadParameter when it names neither stores nor regions."""
    selection = {"stores": [each.strip() for each in stores.split(",") if each.strip()], "regions": regions or []}
    if not any(selection.values()):
        raise typer.BadParameter("say which stores: --stores a,b or --region north")
    given = {name: value for name, value in members.items() if value is not None}
    return {"action": action, "pluginId": plugin, "selection": selection, "dryRun": dry_run, **given}


def _config(settings: list[str]) -> dict[str, Any]:
    from outlet.commands.install import read_setting

    return dict(map(read_setting, settings))


def _seconds(wait: str) -> float:
    return 0.0 if wait == "none" else parse_lifetime(wait).total_seconds()
