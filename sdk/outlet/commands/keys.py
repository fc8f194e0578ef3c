"""`outlet keys`: the keys that a publisher signs packages with."""

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

DEFAULT = "default"
LOCAL_DIRECTORY = Path(".outlet")
GATEWAY = "http://127.0.0.1:8080"
EXIT = "Exit status: 0 done, 1 refused or no answer, 2 wrong usage."

Name = Annotated[str, typer.Argument(help="What you call the key.")]
Directory = Annotated[Path, typer.Option(help="Keys are kept in its folder keys/.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command(epilog=f"Example: outlet keys new release. {EXIT}")
def new(name: Name = DEFAULT, directory: Directory = LOCAL_DIRECTORY, as_json: AsJson = False) -> None:
    """Make an Ed25519 key. Its file never leaves this machine, and there is no other copy of it."""
    from outlet import signing
    from outlet.commands.key_files import KeyFiles

    files = KeyFiles(directory / "keys")
    key = signing.public_part(files.create(name))
    facts = {"name": name, "id": key.id, "publicKey": key.document(), "path": str(files.path(name))}
    typer.echo(json.dumps(facts) if as_json else f"{files.path(name)}\nkey id {key.id}")


@app.command("list", epilog=f"Example: outlet keys list --json. {EXIT}")
def list_keys(directory: Directory = LOCAL_DIRECTORY, as_json: AsJson = False) -> None:
    """Show the keys on this machine."""
    from outlet import signing
    from outlet.commands.key_files import KeyFiles

    files = KeyFiles(directory / "keys")
    found = [{"name": name, "id": signing.public_part(files.read(name)).id} for name in files.names()]
    if as_json:
        typer.echo(json.dumps(found))
    else:
        for each in found:
            typer.echo(f"{each['id']}  {each['name']}")


@app.command(epilog=f"Example: outlet keys register release --url https://outlet.example --token $TOKEN. {EXIT}")
def register(
    name: Name = DEFAULT,
    url: Annotated[str, typer.Option(envvar="OUTLET_URL", help="The platform's gateway.")] = GATEWAY,
    token: Annotated[
        str | None,
        typer.Option(envvar="OUTLET_TOKEN", help="A publisher's token; not needed for the platform on this machine."),
    ] = None,
    directory: Directory = LOCAL_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Make a key's public part known to a platform: what it signs can be published there from now on."""
    from outlet.commands.gateway import local_token
    from outlet.commands.key_files import KeyFiles
    from outlet.commands.packages import LOCAL_PUBLISHER, register_key

    token = token or local_token(url, directory, "publisher", LOCAL_PUBLISHER)
    registered = register_key(url, token, name, KeyFiles(directory / "keys").read(name))
    typer.echo(json.dumps(registered) if as_json else f"Registered {registered['id']}")
