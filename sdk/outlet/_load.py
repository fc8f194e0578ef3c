"""From a plugin's folder to its manifest: plugin.toml says what it is, its code says what it does."""

import importlib
import re
import sys
import tomllib
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal

import msgspec

from outlet import manifest as manifests
from outlet._bundles import bundle_path, read_bundles
from outlet._modules import importable
from outlet._package_error import PackageError
from outlet._plugin import Plugin, declared, declared_components
from outlet.manifest import (
    Bundle,
    Category,
    Dependency,
    Host,
    Limits,
    Manifest,
    ManifestError,
    Permission,
    PluginCall,
    Price,
    PriceModel,
    PythonPackage,
)

PLUGIN_FILE = "plugin.toml"
CHANGELOG_FILE = "CHANGELOG.md"
NOT_CODE = frozenset({"tests", "test", "build", "dist", "docs"})
TAKEN = frozenset({*sys.stdlib_module_names, "outlet", "msgspec"})


class _Price(msgspec.Struct, forbid_unknown_fields=True):
    model: PriceModel = "free"
    amount: int = 0
    currency: str | None = None
    trial_days: int = 0
    period: Literal["month", "year"] | None = None


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
    pool: str | None = None
    price: _Price | None = None
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


class _Bundle(msgspec.Struct, forbid_unknown_fields=True):
    file: str
    name: str | None = None


class _Python(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    requires: tuple[str, ...] = ()


class _PluginFile(msgspec.Struct, forbid_unknown_fields=True):
    plugin: _About
    permissions: tuple[_Permission, ...] = ()
    hosts: tuple[_Host, ...] = ()
    calls: tuple[_Call, ...] = ()
    exports: tuple[str, ...] = ()
    limits: Limits = Limits()
    dependencies: tuple[_Dependency, ...] = ()
    settings: dict[str, Any] = {}
    tables: tuple[str, ...] | None = None
    bundles: tuple[_Bundle, ...] = ()
    python: _Python = _Python()


@dataclass(frozen=True, slots=True)
class Described:
    """A plugin's manifest, the files of its package by path, and the plugin itself as it was imported."""

    manifest: Manifest
    files: dict[str, bytes]
    plugin: Plugin


def read_plugin(folder: Path) -> tuple[Manifest, dict[str, bytes]]:
    """The manifest and the files (by path) of the plugin in ``folder``. Raises :class:`PackageError`.

    Imports the plugin's code, as the runtime does: from its own packages, those of its lock file, and nothing else of
    the folder.
    """
    described = _read_file(folder / PLUGIN_FILE)
    own = _sources(folder)
    packages, others = _vendored(folder, described.python.requires, own)
    with importable({**_libraries(folder, described), **others, **own}):
        found = _describe(folder, described, own, load_entry)
    return msgspec.structs.replace(found.manifest, python=packages), {**found.files, **others}


def describe(folder: Path, load: Callable[[str], Plugin]) -> Described:
    """What is in ``folder`` but for packages from elsewhere; ``load`` imports the entry. Raises PackageError."""
    return _describe(folder, _read_file(folder / PLUGIN_FILE), _sources(folder), load)


def plugin_file_type() -> type[msgspec.Struct]:
    """What plugin.toml is read as."""
    return _PluginFile


def required_packages(folder: Path) -> tuple[str, ...]:
    """The Python packages that the plugin in ``folder`` asks for (PEP 508). Raises :class:`PackageError`."""
    return _read_file(folder / PLUGIN_FILE).python.requires


def _describe(
    folder: Path, described: _PluginFile, sources: dict[str, bytes], load: Callable[[str], Plugin]
) -> Described:
    about = described.plugin
    entry = about.entry or _only_entry(sources, about.category)
    bundles = read_bundles(folder, [(bundle.name, bundle.file) for bundle in described.bundles])
    plugin = _import(entry, about.category, load)
    try:
        manifest = _manifest(described, entry, plugin, tuple(bundle for bundle, _ in bundles))
        manifest = msgspec.structs.replace(manifest, changelog=_changelog(folder, about))
        manifests.check(manifest)
    except ManifestError as error:
        raise PackageError(f"{PLUGIN_FILE}: {error}") from error
    return Described(manifest, sources | {bundle_path(bundle.name): data for bundle, data in bundles}, plugin)


def _manifest(described: _PluginFile, entry: str, plugin: Plugin, bundles: tuple[Bundle, ...]) -> Manifest:
    about = described.plugin
    try:
        code, components = declared(plugin), declared_components(plugin)
    except Exception as error:  # component functions are the author's code
        raise PackageError(f"{entry}: {error}") from error
    return Manifest(
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
        price=_price(about.price),
        permissions=tuple(Permission(name=part.name, purpose=part.purpose) for part in described.permissions),
        hosts=tuple(Host(name=part.name, purpose=part.purpose) for part in described.hosts),
        calls=tuple(PluginCall(plugin_id=part.plugin, purpose=part.purpose) for part in described.calls),
        exports=described.exports,
        limits=described.limits,
        dependencies=tuple(Dependency(plugin_id=part.id, version=part.version) for part in described.dependencies),
        settings_schema=described.settings,
        tables=described.tables,
        pool=about.pool,
        bundles=bundles,
        lifecycle=code.lifecycle,
        hooks=code.hooks,
        routes=code.routes,
        schedules=code.schedules,
        jobs=code.jobs,
        components=components,
    )


def _price(written: _Price | None) -> Price:
    return Price() if written is None else Price(**msgspec.structs.asdict(written))


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


def _vendored(
    folder: Path, requires: tuple[str, ...], own: dict[str, bytes]
) -> tuple[tuple[PythonPackage, ...], dict[str, bytes]]:
    """The packages that become part of the plugin, and their modules."""
    if not requires:
        return (), {}
    from outlet._vendoring import vendor  # a sandbox, which imports this module, has no use for it

    found = vendor(folder, requires, TAKEN | {path.partition("/")[0] for path in own})
    return found.packages, dict(found.files)


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


def _import(entry: str, category: Category, load: Callable[[str], Plugin]) -> Plugin:
    """The plugin; of a library, which is none, an empty one once it has been imported."""
    try:
        if category == "library":
            importlib.import_module(entry)
            return Plugin()
        return load(entry)
    except NotAPlugin as error:
        raise PackageError(f"{PLUGIN_FILE}: in plugin.entry: {error}") from error
    except (Exception, SystemExit) as error:  # importing runs the author's code, which may raise anything
        shown = "".join(traceback.format_exception(error))
        raise PackageError(f"{entry} cannot be imported:\n{shown}") from error
