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
    asked = {"pluginId": plugin_id} | ({"version": version} if version else {}) | ({"storeId": store} if store else {})
    plan = platform.ask("GET", "/api/plugins/install/plan", params=asked).json()
    wanted = [(each["name"], each["purpose"]) for each in plan["wishes"]]
    if not as_json:
        _show(entry, plan["version"], wanted, store)
    if wanted and not consent:
        if as_json:
            raise PlatformError("nobody has consented", "Look at what it asks for, and say --yes.")
        typer.confirm("Grant all of this?", abort=True)
    # The version that was shown, also when another one has been published meanwhile.
    body: Json = asked | {"version": plan["version"], "config": dict(map(read_setting, settings))}
    body["grants"] = [name for name, _ in wanted]
    made = platform.ask("POST", "/api/plugins/install", json=body).json()
    if activate:
        made = platform.ask("POST", f"/api/plugins/{made['id']}/activate").json()
    if as_json:
        typer.echo(json.dumps(made))
    else:
        output().print(f"{made['pluginId']} {made['version']} is {made['status']}: {made['id']}", markup=False)


def read_setting(text: str) -> tuple[str, Any]:
    """``goal=500`` as a setting: the value is JSON, or else text."""
    name, given, value = text.partition("=")
    if not given or not name:
        raise typer.BadParameter(f"{text!r} is no setting such as goal=500")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _show(entry: Json, version: str, wanted: list[tuple[str, str]], store: str | None) -> None:
    console = output()
    place = f"store {store}" if store else "the whole organization"
    console.print(f"{entry['name']} {version} by {entry['author']}, for {place}", markup=False)
    console.print(f"  {entry['description']}", markup=False)
    if not wanted:
        console.print(f"  {ORDINARY}")
    for name, purpose in wanted:
        console.print(f"  {name:<28} {purpose}", markup=False)
