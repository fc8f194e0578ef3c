"""From a plugin's folder to its manifest: plugin.toml says what it is, its code says what it does."""

import importlib
import re
import sys
import tomllib
import traceback
from collections.abc import Callable
from itertools import takewhile
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from outlet import manifest as manifests
from outlet._modules import importable
from outlet._plugin import Plugin, declared, declared_components
from outlet.manifest import Category, Dependency, Host, Limits, Manifest, ManifestError, Permission, PluginCall

PLUGIN_FILE = "plugin.toml"
CHANGELOG_FILE = "CHANGELOG.md"
NOT_CODE = frozenset({"tests", "test", "build", "dist", "docs"})
TAKEN = frozenset({*sys.stdlib_module_names, "outlet", "msgspec"})

Imported = TypeVar("Imported")


class PackageError(ValueError):
    """A plugin that cannot be built or opened. The message names the file, the key and what to do."""


class _About(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    name: str
    version: str
    author: str
    description: str
    entry: str | None = None
    category: Category = "custom"
    tags: tuple[str, ...] = ()
    icon: str | None = None
    homepage: str | None = None
    repository: str | None = None
    license: str | None = None
    changelog: str | None = None


class _Permission(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    purpose: str


class _Dependency(msgspec.Struct, forbid_unknown_fields=True):
    """``path``, of a library: the folder to import it from while the plugin is built."""

    id: str
    version: str = ">=0"
    path: str | None = None


class _Host(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    purpose: str


class _Call(msgspec.Struct, forbid_unknown_fields=True):
    plugin: str
    purpose: str


class _PluginFile(msgspec.Struct, forbid_unknown_fields=True):
    plugin: _About
    permissions: tuple[_Permission, ...] = ()
    hosts: tuple[_Host, ...] = ()
    calls: tuple[_Call, ...] = ()
    exports: tuple[str, ...] = ()
    limits: Limits = Limits()
    dependencies: tuple[_Dependency, ...] = ()
    settings: dict[str, Any] = {}


def read_plugin(folder: Path) -> tuple[Manifest, dict[str, bytes]]:
    """The manifest and the source files (by path) of the plugin in ``folder``. Raises :class:`PackageError`.

    Imports the plugin's code, as the runtime does: from its own packages and nothing else of the folder.
    """
    described = _read_file(folder / PLUGIN_FILE)
    sources = _sources(folder)
    about = described.plugin
    entry = about.entry or _only_entry(sources, about.category)
    with importable({**_libraries(folder, described), **sources}):
        if about.category == "library":
            _guarded(entry, lambda: importlib.import_module(entry))
            plugin = Plugin()
        else:
            plugin = _import(entry)
        try:
            code, components = declared(plugin), declared_components(plugin)
        except Exception as error:  # component functions are the author's code
            raise PackageError(f"{entry}: {error}") from error
    manifest = Manifest(
        plugin_id=about.id,
        name=about.name,
        version=about.version,
        author=about.author,
        description=about.description,
        entry=entry,
        category=about.category,
        tags=about.tags,
        icon=about.icon,
        homepage=about.homepage,
        repository=about.repository,
        license=about.license,
        changelog=_changelog(folder, about),
        permissions=tuple(Permission(name=part.name, purpose=part.purpose) for part in described.permissions),
        hosts=tuple(Host(name=part.name, purpose=part.purpose) for part in described.hosts),
        calls=tuple(PluginCall(plugin_id=part.plugin, purpose=part.purpose) for part in described.calls),
        exports=described.exports,
        limits=described.limits,
        dependencies=tuple(Dependency(plugin_id=part.id, version=part.version) for part in described.dependencies),
        settings_schema=described.settings,
        lifecycle=code.lifecycle,
        hooks=code.hooks,
        routes=code.routes,
        schedules=code.schedules,
        jobs=code.jobs,
        components=components,
    )
    try:
        manifests.check(manifest)
    except ManifestError as error:
        raise PackageError(f"{PLUGIN_FILE}: {error}") from error
    return manifest, sources


class NotAPlugin(TypeError):
    """The entry names something that is no :class:`outlet.Plugin`."""


def load_entry(entry: str) -> Plugin:
    """Import ``module:attribute``. Raises :class:`NotAPlugin`, or whatever the import raises."""
    module, _, attribute = entry.partition(":")
    found = getattr(importlib.import_module(module), attribute, None)
    if not isinstance(found, Plugin):
        raise NotAPlugin(f"{entry} is {found!r}, not an outlet.Plugin")
    return found


def _read_file(path: Path) -> _PluginFile:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PackageError(f"{path}: does not exist; a plugin's folder has a {PLUGIN_FILE}") from None
    except (OSError, ValueError) as error:
        raise PackageError(f"{path}: {error}") from error
    try:
        return msgspec.convert(values, _PluginFile)
    except msgspec.ValidationError as error:
        # msgspec names the place as "... - at `$.plugin.name`"
        what, _, place = str(error).partition(" - at ")
        key = place.strip("`").removeprefix("$").strip(".") or "the top level"
        raise PackageError(f"{path}: in {key}: {what[:1].lower()}{what[1:]}; correct it there") from error


def _changelog(folder: Path, about: _About) -> str:
    """What plugin.toml says is new, or else the section of CHANGELOG.md whose heading has the version."""
    if about.changelog is not None:
        return about.changelog.strip()
    try:
        text = (folder / CHANGELOG_FILE).read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        raise PackageError(f"{folder / CHANGELOG_FILE}: {error}") from error
    heading = re.compile(rf"##\s+\[?v?{re.escape(about.version)}\]?(\s.*)?")
    lines = iter(text.splitlines())
    if not any(heading.fullmatch(line) for line in lines):
        return ""
    return "\n".join(takewhile(lambda line: not line.startswith(("# ", "## ")), lines)).strip()


def _sources(folder: Path) -> dict[str, bytes]:
    packages = sorted(path.parent for path in folder.glob("*/__init__.py") if path.parent.name not in NOT_CODE)
    if not packages:
        raise PackageError(f"{folder}: no Python package; put the code in a folder with an __init__.py")
    for package in packages:
        if package.name in TAKEN:
            raise PackageError(f"{package}: {package.name!r} is a module of Python or Outlet; choose another name")
    sources: dict[str, bytes] = {}
    for path in sorted(found for package in packages for found in package.rglob("*.py")):
        if "tests" in path.relative_to(folder).parts:
            continue
        if not path.resolve().is_relative_to(folder.resolve()):
            raise PackageError(f"{path}: a link that leaves the plugin's folder; copy the file")
        sources[path.relative_to(folder).as_posix()] = path.read_bytes()
    return sources


def _only_entry(sources: dict[str, bytes], category: Category) -> str:
    names = sorted({path.partition("/")[0] for path in sources})
    if len(names) > 1:
        raise PackageError(f'{PLUGIN_FILE}: in plugin: set entry = "module:attribute"; the packages are {names}')
    return names[0] if category == "library" else f"{names[0]}:plugin"


def _libraries(folder: Path, described: _PluginFile) -> dict[str, bytes]:
    """The sources of the libraries that plugin.toml says the folders of. Others are imported from where they are."""
    found: dict[str, bytes] = {}
    for dependency in described.dependencies:
        if dependency.path is not None:
            found |= _sources(folder / dependency.path)
    return found


def _import(entry: str) -> Plugin:
    return _guarded(entry, lambda: load_entry(entry))


def _guarded(entry: str, act: Callable[[], Imported]) -> Imported:
    try:
        return act()
    except NotAPlugin as error:
        raise PackageError(f"{PLUGIN_FILE}: in plugin.entry: {error}") from error
    except (Exception, SystemExit) as error:  # importing runs the author's code, which may raise anything
        shown = "".join(traceback.format_exception(error))
        raise PackageError(f"{entry} cannot be imported:\n{shown}") from error
