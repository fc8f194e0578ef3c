"""`outlet install`: what a plugin asks for is shown, and granted or not; then it is installed and activated."""

import json
from typing import Any

import typer

from outlet.commands.connection import Connection, Json
from outlet.commands.console import output
from outlet.local.errors import PlatformError

ORDINARY = "It asks for no permissions."


def install(
    platform: Connection,
    plugin_id: str,
    *,
    version: str | None,
    store: str | None,
    settings: list[str],
    activate: bool,
    consent: bool,
    as_json: bool,
) -> None:
    """Install a plugin, and activate it. Raises PlatformError, or typer.Abort when the person says no."""
    entry = platform.plugin(plugin_id)
    wanted = asked_for(entry)
    if not as_json:
        _show(entry, version, wanted, store)
    if wanted and not consent:
        if as_json:
            raise PlatformError("nobody has consented", "Look at what it asks for, and say --yes.")
        typer.confirm("Grant all of this?", abort=True)
    body: Json = {"pluginId": plugin_id, "config": dict(map(read_setting, settings))}
    body["grants"] = [name for name, _ in wanted]
    body |= {"version": version} if version else {}
    body |= {"storeId": store} if store else {}
    made = platform.ask("POST", "/api/plugins/install", json=body).json()
    if activate:
        made = platform.ask("POST", f"/api/plugins/{made['id']}/activate").json()
    if as_json:
        typer.echo(json.dumps(made))
    else:
        output().print(f"{made['pluginId']} {made['version']} is {made['status']}: {made['id']}", markup=False)


def asked_for(entry: Json) -> list[tuple[str, str]]:
    """The grants that a version asks for, and why."""
    capabilities = entry["capabilities"]
    kinds = (("permissions", ""), ("hosts", "host:"), ("calls", "call:"))
    return [(f"{prefix}{each['name']}", each["purpose"]) for kind, prefix in kinds for each in capabilities[kind]]


def read_setting(text: str) -> tuple[str, Any]:
    """``goal=500`` as a setting: the value is JSON, or else text."""
    name, given, value = text.partition("=")
    if not given or not name:
        raise typer.BadParameter(f"{text!r} is no setting such as goal=500")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _show(entry: Json, version: str | None, wanted: list[tuple[str, str]], store: str | None) -> None:
    console = output()
    place = f"store {store}" if store else "the whole organization"
    console.print(f"{entry['name']} {version or entry['version']} by {entry['author']}, for {place}", markup=False)
    console.print(f"  {entry['description']}", markup=False)
    if version is not None and version != entry["version"]:
        console.print(f"  What it asks for is shown as {entry['version']} does, the latest version.", markup=False)
    if not wanted:
        console.print(f"  {ORDINARY}")
    for name, purpose in wanted:
        console.print(f"  {name:<28} {purpose}", markup=False)
