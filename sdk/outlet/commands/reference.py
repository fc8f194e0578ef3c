"""`outlet docs`: the reference documentation of a plugin, from its manifest and the docstrings of its handlers."""

import inspect
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import typer

from outlet._load import load_entry
from outlet._modules import importable
from outlet._plugin import (
    Plugin,
    component_functions,
    hook_handlers,
    job_handlers,
    lifecycle_handlers,
    route_handlers,
    schedule_handlers,
)
from outlet.commands.console import output
from outlet.manifest import Manifest
from outlet.package import Package, build

Row = tuple[str, ...]


def docs(folder: Path, target: Path | None, *, as_json: bool) -> None:
    """Write the reference of the plugin in ``folder``. Raises PackageError."""
    package = build(folder)
    text = reference(package)
    path = target or folder / "docs" / "reference.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    if as_json:
        typer.echo(json.dumps({"path": str(path), "bytes": len(text.encode())}))
    else:
        output().print(str(path), markup=False, soft_wrap=True)


def reference(package: Package) -> str:
    """The reference as Markdown: the same for the same package."""
    with importable(package.sources):
        plugin = load_entry(package.manifest.entry)
        parts = [*_head(package.manifest), *_handlers(package.manifest, plugin), *_needs(package.manifest)]
    return "\n".join(parts).rstrip() + "\n"


def _head(manifest: Manifest) -> Iterable[str]:
    yield f"# {manifest.name}\n\n{manifest.description}\n"
    facts = {
        "id": f"`{manifest.plugin_id}`",
        "version": manifest.version,
        "author": manifest.author,
        "category": manifest.category,
        "license": manifest.license,
        "homepage": manifest.homepage,
        "tags": ", ".join(manifest.tags),
    }
    yield _table(("", ""), [(name, value) for name, value in facts.items() if value])


def _handlers(manifest: Manifest, plugin: Plugin) -> Iterable[str]:
    routes, hooks = route_handlers(plugin), hook_handlers(plugin)
    schedules, jobs = schedule_handlers(plugin), job_handlers(plugin)
    shared = set(manifest.exports)
    for route in manifest.routes:
        name = f"{route.method} {route.path}"
        note = " Other plugins may call it." if name in shared else ""
        yield from _section("Routes", name, _doc(routes[route.method, route.path]) + note)
    for hook in manifest.hooks:
        order = " Events about one entity wait for each other." if hook.ordered else ""
        yield from _section("Events that it hears", hook.event, _doc(hooks[hook.event]) + order)
    for schedule in manifest.schedules:
        when = f"`{schedule.cron}` in {schedule.timezone}. "
        yield from _section("Schedules", schedule.name, when + _doc(schedules[schedule.name]))
    for job in manifest.jobs:
        yield from _section("Jobs", job.name, _doc(jobs[job.name]))
    for name, handler in lifecycle_handlers(plugin).items():
        yield from _section("Lifecycle", name, _doc(handler))
    functions = component_functions(plugin)
    for component in manifest.components:
        drawn = f" Shows what `GET {component.route}` answers." if component.route else ""
        about = f"*{component.title}* at `{component.injection_point}`. "
        text = about + _doc(functions[component.injection_point, component.name]) + drawn
        yield from _section("Screens", component.name, text)


def _needs(manifest: Manifest) -> Iterable[str]:
    asked = [
        *((f"`{each.name}`", each.purpose) for each in manifest.permissions),
        *((f"`host:{each.name}`", each.purpose) for each in manifest.hosts),
        *((f"`call:{each.plugin_id}`", each.purpose) for each in manifest.calls),
    ]
    if asked:
        yield "\n## What it asks for\n\n" + _table(("grant", "why"), asked)
    properties: Mapping[str, Any] = manifest.settings_schema.get("properties", {})
    settings = [
        (f"`{name}`", _kind(part), _value(part.get("default")), str(part.get("description", part.get("title", ""))))
        for name, part in properties.items()
    ]
    if settings:
        yield "\n## Settings\n\n" + _table(("setting", "type", "default", ""), settings)
    if manifest.dependencies:
        needed = [(f"`{each.plugin_id}`", f"`{each.version}`") for each in manifest.dependencies]
        yield "\n## Other plugins that it needs\n\n" + _table(("plugin", "versions"), needed)
    if manifest.python:
        vendored = [(each.name, each.version) for each in manifest.python]
        yield "\n## Python packages in it\n\n" + _table(("package", "version"), vendored)


def _section(title: str, name: str, text: str) -> Iterable[str]:
    yield f"\n## {title}: `{name}`\n\n{text.strip() or 'Not described.'}"


def _doc(handler: Any) -> str:
    return inspect.getdoc(handler) or ""


def _kind(part: Mapping[str, Any]) -> str:
    if part.get("format") == "secret":
        return "secret"
    kinds = [part["type"]] if "type" in part else [each.get("type", "any") for each in part.get("anyOf", ())]
    return " or ".join(map(str, kinds)) or "any"


def _value(value: Any) -> str:
    return "" if value is None else f"`{json.dumps(value)}`"


def _table(head: Row, rows: Iterable[Row]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in lines
    )
