"""The `outlet` command."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from outlet.commands import audit, bulk, console, dead_letters, keys
from outlet.commands.token import parse_lifetime
from outlet.local.errors import PlatformError
from outlet.local.roles import Role

app = typer.Typer(
    name="outlet",
    help="Write plugins for Outlet, and run the platform on this machine.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    rich_markup_mode=None,
)

app.add_typer(
    dead_letters.app,
    name="dead-letters",
    help="Look at the events that plugins failed for good, replay and discard them.",
)

app.add_typer(keys.app, name="keys", help="Make and register the keys that packages are signed with.")
app.add_typer(audit.app, name="audit", help="Look at what was done in an organization, and prove that it is whole.")
app.add_typer(bulk.app, name="bulk", help="Install, update or otherwise change a plugin in many stores.")

Directory = Annotated[Path, typer.Option(help="Where the platform keeps its data, logs and keys.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Folder = Annotated[
    Path, typer.Argument(exists=True, file_okay=False, help="The plugin's folder, with its plugin.toml.")
]

LOCAL_DIRECTORY = Path(".outlet")


@app.command()
def up(
    directory: Directory = LOCAL_DIRECTORY,
    port: Annotated[
        int, typer.Option(envvar="OUTLET_PORT", min=1, max=65535, help="Where the gateway listens.")
    ] = 8080,
    workers: Annotated[int, typer.Option(min=1, help="Runtime workers; more than one need a real Kafka.")] = 1,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Print the logs of all services.")] = False,
) -> None:
    """Run the whole platform until Ctrl-C; data is kept.

    OUTLET_KAFKA_BOOTSTRAP, OUTLET_REGISTRY_DATABASE_URL, OUTLET_RUNTIME_DATABASE_URL and OUTLET_REDIS_URL each replace
    an embedded part by a real one.
    """
    from outlet.commands.up import up as run

    run(directory, port=port, workers=workers, verbose=verbose)


@app.command()
def token(
    role: Annotated[Role, typer.Option(help="What the bearer may do.")],
    org: Annotated[str, typer.Option(help="The organization's id.")],
    store: Annotated[str | None, typer.Option(help="Bind the token to one store.")] = None,
    subject: Annotated[str | None, typer.Option(help="Who the bearer is; default: role@organization.")] = None,
    lifetime: Annotated[str, typer.Option(help="How long it is valid: 90s, 15m, 1h, 7d.")] = "1h",
    directory: Directory = LOCAL_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Print an access token of the platform on this machine."""
    from outlet.commands.token import token as run

    run(directory, role, org, store=store, subject=subject, lifetime=parse_lifetime(lifetime), as_json=as_json)


Gateway = Annotated[str, typer.Option("--url", envvar="OUTLET_URL", help="The platform's gateway.")]
Token = Annotated[
    str | None, typer.Option(envvar="OUTLET_TOKEN", help="An owner's or admin's token; or, on this machine, --org.")
]
Org = Annotated[str | None, typer.Option(help="The organization, on this machine instead of a token.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Grant what it asks for, without being asked.")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="A setting, as in --set goal=500.")]
LOCAL_GATEWAY = "http://127.0.0.1:8080"
LOCAL_ORGANIZATION = "acme"
EXIT = dead_letters.EXIT


@app.command(epilog=f"Example: outlet new low-stock-alert --template hook. {EXIT}")
def new(
    folder: Annotated[Path, typer.Argument(help="A folder to make; its name becomes the plugin's id.")],
    template: Annotated[Literal["hook", "route", "ui", "full"], typer.Option(help="What to begin with.")] = "hook",
    as_json: AsJson = False,
) -> None:
    """Make a plugin to begin with, whose tests pass."""
    from outlet.commands.new import new as run

    run(folder, template, as_json=as_json)


@app.command(
    "test", epilog="Example: outlet test . -- -k refund. Exit status: pytest's own; 0 all passed, 1 some failed."
)
def run_tests(
    folder: Folder,
    arguments: Annotated[list[str] | None, typer.Argument(help="Passed on to pytest, after --.")] = None,
    as_json: AsJson = False,
) -> None:
    """Run a plugin's tests, in memory."""
    from outlet.commands.test import test as run

    raise typer.Exit(run(folder, arguments or [], as_json=as_json))


@app.command(epilog=f"Example: outlet dev . --set goal=500 --every 1. {EXIT}")
def dev(
    folder: Folder,
    url: Annotated[
        str | None, typer.Option(envvar="OUTLET_URL", help="A platform that runs; default: one here.")
    ] = None,
    token: Token = None,
    publisher_token: Annotated[
        str | None, typer.Option(envvar="OUTLET_PUBLISHER_TOKEN", help="With --token: one that may publish.")
    ] = None,
    org: Annotated[
        str, typer.Option(help="The organization, on this machine instead of a token.")
    ] = LOCAL_ORGANIZATION,
    settings: Settings = None,
    every: Annotated[float, typer.Option(min=0, help="Seconds between sample sales; 0: none.")] = 2.0,
    key: Annotated[str, typer.Option(help="The name of the key to sign with; see outlet keys.")] = keys.DEFAULT,
    fresh: Annotated[bool, typer.Option("--fresh", help="Drop what an earlier run has stored.")] = False,
    directory: Directory = LOCAL_DIRECTORY,
    port: Annotated[
        int, typer.Option(envvar="OUTLET_PORT", min=1, max=65535, help="Where its gateway listens.")
    ] = 8080,
    as_json: AsJson = False,
) -> None:
    """Run the platform with the plugin in it until Ctrl-C: every save is live a moment later; logs are shown."""
    from outlet.commands.dev import Wishes
    from outlet.commands.dev import dev as run
    from outlet.commands.install import read_setting

    chosen = dict(map(read_setting, settings or []))
    wishes = Wishes(folder, org, chosen, every, key, fresh=fresh, as_json=as_json)
    run(wishes, url, token, publisher_token, directory, port)


@app.command(epilog=f"Example: outlet install loyalty-points --org acme --set pointsPerDollar=2. {EXIT}")
def install(
    plugin: Annotated[str, typer.Argument(help="The plugin's id.")],
    version: Annotated[str | None, typer.Option(help="Default: the latest release.")] = None,
    store: Annotated[str | None, typer.Option(help="In this store only.")] = None,
    settings: Settings = None,
    activate: Annotated[bool, typer.Option(help="Switch it on.")] = True,
    yes: Yes = False,
    url: Gateway = LOCAL_GATEWAY,
    token: Token = None,
    org: Org = None,
    directory: Directory = LOCAL_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Show what a plugin asks for, install it when that is granted, and switch it on."""
    from outlet.commands.connection import connect
    from outlet.commands.install import install as run

    platform = connect(url, token, org, directory, publisher="")
    run(
        platform,
        plugin,
        version=version,
        store=store,
        settings=settings or [],
        activate=activate,
        consent=yes,
        as_json=as_json,
    )


@app.command(epilog=f"Example: outlet logs loyalty-points --org acme -f. {EXIT}")
def logs(
    plugin: Annotated[str, typer.Argument(help="The plugin's id, or an installation's.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, max=1000, help="How many to begin with.")] = 50,
    url: Gateway = LOCAL_GATEWAY,
    token: Token = None,
    org: Org = None,
    directory: Directory = LOCAL_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Show what a plugin has logged lately, and its failures."""
    from outlet.commands.connection import connect
    from outlet.commands.logs import logs as run

    run(connect(url, token, org, directory, publisher=""), plugin, lines=lines, follow=follow, as_json=as_json)


app.command("replay", epilog=f"Example: outlet replay --plugin loyalty-points --org acme. {EXIT}")(dead_letters.replay)


@app.command(epilog="Example: outlet doctor --json. Exit status: 0 nothing failed, 1 something did.")
def doctor(
    url: Gateway = LOCAL_GATEWAY,
    token: Annotated[str | None, typer.Option(envvar="OUTLET_TOKEN", help="A token to try.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check this machine and the platform, and say what to do about what is wrong."""
    from outlet.commands.doctor import doctor as run

    raise typer.Exit(run(url, token, as_json=as_json))


@app.command(epilog=f"Example: outlet lock . {EXIT}")
def lock(folder: Folder, as_json: AsJson = False) -> None:
    """Pin the Python packages that plugin.toml asks for, by hash, in outlet.lock."""
    from outlet.commands.packages import lock as run

    run(folder, as_json=as_json)


@app.command(epilog=f"Example: outlet docs . --output docs/reference.md. {EXIT}")
def docs(
    folder: Folder,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write; default: docs/reference.md in the folder.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a plugin's reference documentation, from its manifest and docstrings, as Markdown."""
    from outlet.commands.reference import docs as run

    run(folder, output, as_json=as_json)


@app.command()
def build(
    folder: Folder,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write; default: below dist/.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a plugin and write its package."""
    from outlet.commands.packages import build as run

    run(folder, output, as_json=as_json)


@app.command()
def publish(
    folder: Folder,
    url: Annotated[str, typer.Option(envvar="OUTLET_URL", help="The platform's gateway.")] = "http://127.0.0.1:8080",
    token: Annotated[
        str | None,
        typer.Option(
            envvar="OUTLET_TOKEN",
            help="A publisher's token, or a service account's key; not needed on this machine.",
        ),
    ] = None,
    level: Annotated[
        Literal["private", "community"] | None,
        typer.Option(
            help="For your own organization (default), or for everyone once it was reviewed (default on this machine)."
        ),
    ] = None,
    key: Annotated[str, typer.Option(help="The name of the key to sign with; see outlet keys.")] = keys.DEFAULT,
    directory: Directory = LOCAL_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Build a plugin, sign it and publish it in the marketplace."""
    from outlet.commands.packages import publish as run

    run(folder, url, token, directory, key=key, level=level, as_json=as_json)


@app.command("yank", epilog='Example: outlet yank my-plugin 1.1.0 --reason "counts twice"')
def yank_version(
    plugin: Annotated[str, typer.Argument(help="The plugin's id.")],
    version: Annotated[str, typer.Argument(help="The version to take out of offer.")],
    reason: Annotated[str, typer.Option(help="Why; who asks for the version is told.")] = "withdrawn by its publisher",
    undo: Annotated[bool, typer.Option("--undo", help="Offer it again.")] = False,
    url: Annotated[str, typer.Option(envvar="OUTLET_URL", help="The platform's gateway.")] = "http://127.0.0.1:8080",
    token: Annotated[
        str | None,
        typer.Option(envvar="OUTLET_TOKEN", help="A publisher's token; not needed for the platform on this machine."),
    ] = None,
    directory: Directory = LOCAL_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Take a version out of offer: nobody installs it any more, and where it is installed it goes on."""
    from outlet.commands.packages import yank as run

    run(plugin, version, None if undo else reason, url, token, directory, as_json=as_json)


@app.command()
def demo(as_json: Annotated[bool, typer.Option("--json", help="Print only the last line.")] = False) -> None:
    """Start the platform, take 2,000 sales through it, and say what came of them."""
    with console.needs_local():
        from outlet.local import demo as scenario
    raise typer.Exit(scenario.main(only_json=as_json))


def main() -> None:
    """Run the command; expected failures end with a message on standard error and exit status 1."""
    from outlet.package import PackageError

    try:
        app()
    except PlatformError as error:
        _fail(str(error), error.remedy)
    except PackageError as error:
        _fail(str(error))


def _fail(message: str, remedy: str = "") -> None:
    errors = console.errors()
    errors.print("Error:", style="bold red", end=" ")
    errors.print(message, markup=False, soft_wrap=True)
    if remedy:
        errors.print(remedy, markup=False, soft_wrap=True)
    sys.exit(1)
