"""The `outlet` command."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from outlet.commands import console, dead_letters, keys
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
        typer.Option(envvar="OUTLET_TOKEN", help="A publisher's token; not needed for the platform on this machine."),
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
