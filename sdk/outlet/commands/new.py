"""`outlet new`: a plugin to begin with, whose tests pass."""

import json
import re
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Literal

import typer

from outlet.commands.console import output
from outlet.local.errors import PlatformError
from outlet.manifest import PLUGIN_ID, RESERVED_IDS

Template = Literal["hook", "route", "ui", "full"]
LONGEST = 40
SKIPPED = frozenset({"__pycache__", ".pytest_cache", ".ruff_cache", ".mypy_cache"})


def new(folder: Path, template: Template, *, as_json: bool) -> None:
    """Write the template's files into ``folder``, whose name is the plugin's. Raises PlatformError."""
    plugin_id = re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-")
    if not PLUGIN_ID.fullmatch(plugin_id) or len(plugin_id) > LONGEST or plugin_id in RESERVED_IDS:
        raise PlatformError(
            f"{folder.name!r} cannot name a plugin", "Use words joined by hyphens, such as low-stock-alert."
        )
    if folder.exists() and any(folder.iterdir()):
        raise PlatformError(f"{folder} is not empty", "Name a folder that does not exist yet.")
    package = plugin_id.replace("-", "_")
    title = plugin_id.replace("-", " ").capitalize()
    names = {"my_plugin": package, "my-plugin": plugin_id, "My plugin": title}
    written = _copy(resources.files("outlet") / "templates" / template, folder, names)
    if as_json:
        typer.echo(json.dumps({"pluginId": plugin_id, "folder": str(folder), "files": sorted(written)}))
        return
    console = output()
    console.print(f"Made {title} in {folder}:", markup=False)
    for path in sorted(written):
        console.print(f"  {path}", markup=False)
    for line in (f"outlet test {folder}", f"outlet dev {folder}"):
        console.print(f"Next: {line}", markup=False)


def _copy(source: Traversable, target: Path, names: dict[str, str]) -> list[str]:
    target.mkdir(parents=True, exist_ok=True)
    written: list[str] = []
    for entry in source.iterdir():
        if entry.name in SKIPPED:
            continue
        path = target / _renamed(entry.name, names)
        if entry.is_dir():
            written += [f"{path.name}/{inner}" for inner in _copy(entry, path, names)]
        else:
            path.write_text(_renamed(entry.read_text(encoding="utf-8"), names), encoding="utf-8")
            written.append(path.name)
    return written


def _renamed(text: str, names: dict[str, str]) -> str:
    for known, wanted in names.items():
        text = text.replace(known, wanted)
    return text
