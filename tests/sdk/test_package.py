"""Packages: the same bytes each time, and nothing in them but what may be."""

import io
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from outlet import package
from outlet.manifest import Price, encode
from outlet.package import PackageError, build, open_package

TOML = """
[plugin]
id = "tiny"
name = "Tiny"
version = "1.2.3"
author = "Tests"
description = "Almost nothing."
tags = ["a", "b"]

[[permissions]]
name = "sale:read"
purpose = "To count them."

[[dependencies]]
id = "other-plugin"
version = ">=1.0"

[settings]
type = "object"
properties = { rate = { type = "number", default = 1.5 } }
"""

CODE = """
from outlet import Component, Plugin
from .rates import RATE
plugin = Plugin()

@plugin.hook("sale.created")
async def seen(): ...

@plugin.route("GET", "/rate")
async def rate(): return {"rate": RATE}

@plugin.component("Dashboard.Widgets", priority=3)
def widget(): return Component("The rate", route="/rate")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = {
        "plugin.toml": TOML,
        "README.md": "Tiny",
        "tiny/__init__.py": CODE,
        "tiny/rates.py": "RATE = 2",
        "tiny/tests/test_tiny.py": "raise RuntimeError",
        "tests/test_tiny.py": "raise RuntimeError",
        "setup.py": "raise RuntimeError",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def edit(folder: Path, old: str, new: str, name: str = "plugin.toml") -> None:
    path = folder / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_a_folder_becomes_a_manifest_and_its_code(folder: Path) -> None:
    built = build(folder)
    manifest = built.manifest
    assert (manifest.plugin_id, manifest.version, manifest.entry, manifest.tags) == (
        "tiny",
        "1.2.3",
        "tiny:plugin",
        ("a", "b"),
    )
    assert [part.name for part in manifest.permissions] == ["sale:read"]
    assert [(part.plugin_id, part.version) for part in manifest.dependencies] == [("other-plugin", ">=1.0")]
    assert manifest.settings_schema["properties"]["rate"]["default"] == 1.5
    assert [hook.event for hook in manifest.hooks] == ["sale.created"]
    assert [(part.name, part.priority, part.route) for part in manifest.components] == [("widget", 3, "/rate")]
    assert list(built.sources) == ["tiny/__init__.py", "tiny/rates.py"]


def test_a_price_is_read_and_checked(folder: Path) -> None:
    assert build(folder).manifest.price == Price()
    sold = '[plugin.price]\nmodel = "subscription"\namount = 990\ncurrency = "EUR"\nperiod = "month"\ntrial_days = 14\n'
    text = (folder / "plugin.toml").read_text()
    (folder / "plugin.toml").write_text(text + sold)
    priced = Price(model="subscription", amount=990, currency="EUR", period="month", trial_days=14)
    assert build(folder).manifest.price == priced
    (folder / "plugin.toml").write_text(text + sold.replace("EUR", "Euro"))
    with pytest.raises(PackageError, match=r"price\.currency: 'Euro' is not a currency of ISO 4217"):
        build(folder)


def test_the_same_plugin_gives_the_same_bytes(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    first = build(folder)
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_file():
            copy = elsewhere / path.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    second = build(elsewhere)
    assert first.data == second.data
    assert first.digest == second.digest
    edit(folder, "RATE = 2", "RATE = 3", "tiny/rates.py")
    assert build(folder).digest != first.digest


CHANGES = """# Changelog

## [1.3.0]
Not yet.

## [1.2.3] - 2026-11-01
### Fixed
- Rates.

## 1.2.2
- Older.
"""


def test_what_is_new_is_the_section_of_the_version(folder: Path) -> None:
    assert build(folder).manifest.changelog == ""
    (folder / "CHANGELOG.md").write_text(CHANGES)
    assert build(folder).manifest.changelog == "### Fixed\n- Rates."
    edit(folder, 'version = "1.2.3"', 'version = "1.2.2"')
    assert build(folder).manifest.changelog == "- Older."
    edit(folder, 'author = "Tests"', 'author = "Tests"\nchangelog = "All of it."')
    assert build(folder).manifest.changelog == "All of it."
    edit(folder, "All of it.", "x" * 4_001)
    with pytest.raises(PackageError, match="changelog: at most 4000 characters"):
        build(folder)


def test_opening_gives_back_what_was_built(folder: Path) -> None:
    built = build(folder)
    assert open_package(built.data) == built


def test_building_leaves_no_trace_in_the_process(folder: Path) -> None:
    before, modules = list(sys.meta_path), set(sys.modules)
    build(folder)
    assert sys.meta_path == before
    assert not {name for name in set(sys.modules) - modules if name.startswith("tiny")}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('id = "tiny"', "", r"plugin\.toml: in plugin: object missing required field `id`"),
        ('id = "tiny"', "id = 3", r"in plugin\.id: expected `str`, got `int`"),
        ('id = "tiny"', 'id = "Tiny One"', "pluginId: 'Tiny One' is not lower-case words"),
        ('version = "1.2.3"', 'version = "one"', "version: 'one' is not a semantic version"),
        ('version = "1.2.3"', 'version = "1.2.3"\ncolour = "red"', "in plugin: object contains unknown field `colour`"),
        ('version = "1.2.3"', 'version = "1.2.3"\ncategory = "fun"', r"in plugin\.category: invalid enum value 'fun'"),
        ('purpose = "To count them."', "", r"in permissions\[0\]: object missing required field `purpose`"),
        ("[settings]", "[setting]", "in the top level: object contains unknown field `setting`"),
        ("[settings]", "[settings", r"plugin\.toml: Expected"),
        ('version = "1.2.3"', 'version = "1.2.3"\nentry = "tiny:nothing"', r"in plugin\.entry: tiny:nothing is None"),
        ('version = "1.2.3"', 'version = "1.2.3"\nentry = "large:plugin"', "No module named 'large'"),
    ],
)
def test_what_is_wrong_in_the_file_is_named(folder: Path, old: str, new: str, message: str) -> None:
    edit(folder, old, new)
    with pytest.raises(PackageError, match=message):
        build(folder)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("raise RuntimeError('at import')", "RuntimeError: at import"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("def x(", "SyntaxError"),
        ("from . import missing", "cannot import name 'missing'"),
        ("plugin = 1", "tiny:plugin is 1, not an outlet.Plugin"),
        ("from outlet import Plugin\nplugin = Plugin()\nplugin.hook('Bad Type')", "not an event type"),
        (
            "from outlet import Plugin\nplugin = Plugin()\n@plugin.component('POS.AfterCheckout')\ndef x(): 1/0",
            "division by zero",
        ),
    ],
)
def test_what_is_wrong_in_the_code_is_named(folder: Path, code: str, message: str) -> None:
    (folder / "tiny" / "__init__.py").write_text(code)
    with pytest.raises(PackageError, match=message):
        build(folder)


def test_a_folder_that_is_no_plugin_is_told_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match=r"plugin\.toml: does not exist"):
        build(tmp_path)
    (tmp_path / "plugin.toml").write_text(TOML)
    with pytest.raises(PackageError, match="no Python package"):
        build(tmp_path)


def test_two_packages_need_an_entry(folder: Path) -> None:
    (folder / "vendored").mkdir()
    (folder / "vendored" / "__init__.py").touch()
    with pytest.raises(PackageError, match="set entry"):
        build(folder)
    edit(folder, 'version = "1.2.3"', 'version = "1.2.3"\nentry = "tiny:plugin"')
    assert "vendored/__init__.py" in build(folder).sources


def test_a_package_cannot_take_the_name_of_a_known_module(folder: Path) -> None:
    (folder / "json").mkdir()
    (folder / "json" / "__init__.py").touch()
    with pytest.raises(PackageError, match="'json' is a module of Python"):
        build(folder)


def test_a_link_out_of_the_folder_is_refused(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    secret = tmp_path_factory.mktemp("elsewhere") / "secret.py"
    secret.touch()
    (folder / "tiny" / "secret.py").symlink_to(secret)
    with pytest.raises(PackageError, match=r"secret\.py: a link that leaves"):
        build(folder)


def zipped(*files: tuple[str, bytes], **options: Any) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, **options) as archive:
        for name, data in files:
            archive.writestr(name, data)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "the first file must be manifest.json"),
        ([("tiny/__init__.py", b""), ("manifest.json", b"{}")], "the first file must be manifest.json"),
        ([("manifest.json", b"{}"), ("../x.py", b"")], "only manifest.json, bundles and the .py"),
        ([("manifest.json", b"{}"), ("/x/y.py", b"")], "only manifest.json, bundles and the .py"),
        ([("manifest.json", b"{}"), ("a/../b.py", b"")], "only manifest.json, bundles and the .py"),
        ([("manifest.json", b"{}"), ("a\\b.py", b"")], "only manifest.json, bundles and the .py"),
        ([("manifest.json", b"{}"), ("a/b.so", b"")], "only manifest.json, bundles and the .py"),
        ([("manifest.json", b"{}"), ("a/b.py\n", b"")], "only manifest.json, bundles and the .py"),
        ([("manifest.json", b"{}"), ("bundles/x.css", b"")], "only manifest.json, bundles and the .py"),
        ([("manifest.json", b"{}"), ("a/b.py", b"x" * (package.MAX_UNCOMPRESSED_BYTES))], "when unpacked"),
        ([("manifest.json", b"{}"), *[(f"a/m{n}.py", b"") for n in range(2000)]], "2001 files"),
        ([("manifest.json", b"not json")], r"manifest\.json: JSON is malformed"),
        ([("manifest.json", b"{}")], r"manifest\.json: Object missing required field"),
    ],
)
def test_packages_that_hold_anything_else_are_refused(files: list[tuple[str, bytes]], message: str) -> None:
    with pytest.raises(PackageError, match=message):
        open_package(zipped(*files))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_file_twice_is_refused() -> None:
    with pytest.raises(PackageError, match="twice"):
        open_package(zipped(("manifest.json", b"{}"), ("a/b.py", b""), ("a/b.py", b"")))


def test_bytes_that_are_no_package_are_refused(folder: Path) -> None:
    data = build(folder).data
    with pytest.raises(PackageError, match="not a readable zip"):
        open_package(b"PK nothing")
    with pytest.raises(PackageError, match="at most"):
        open_package(b"x" * (package.MAX_BYTES + 1))
    damaged = bytearray(data)
    damaged[len(data) // 2] ^= 0xFF
    with pytest.raises(PackageError):
        open_package(bytes(damaged))


def test_an_entry_that_is_not_in_the_package_is_refused(folder: Path) -> None:
    manifest = build(folder).manifest
    with pytest.raises(PackageError, match="names a module that the package does not hold"):
        open_package(zipped(("manifest.json", encode(manifest)), ("other/__init__.py", b"")))


LIBRARY = """
[plugin]
id = "money-library"
name = "Money"
version = "1.0.0"
author = "Tests"
description = "Sums."
category = "library"
"""


def test_a_library_is_a_package_without_a_plugin(tmp_path: Path) -> None:
    (tmp_path / "money").mkdir()
    (tmp_path / "plugin.toml").write_text(LIBRARY)
    (tmp_path / "money" / "__init__.py").write_text("def add(*numbers): return sum(numbers)")
    built = build(tmp_path)
    assert (built.manifest.is_library, built.manifest.entry, [*built.sources]) == (True, "money", ["money/__init__.py"])
    edit(tmp_path, 'category = "library"', 'category = "library"\n[settings]\ntype = "object"')
    with pytest.raises(PackageError, match="settings_schema: a library has none"):
        build(tmp_path)


def test_a_plugin_is_built_with_the_libraries_whose_folders_it_names(folder: Path) -> None:
    library = folder.parent / f"{folder.name}-library"
    (library / "money").mkdir(parents=True)
    (library / "money" / "__init__.py").write_text("RATE = 3")
    edit(folder, "RATE = 2", "from money import RATE", "tiny/rates.py")
    with pytest.raises(PackageError, match="No module named 'money'"):
        build(folder)
    edit(folder, 'id = "other-plugin"', f'id = "money-library"\npath = "../{library.name}"')
    built = build(folder)
    assert built.manifest.dependencies[0].plugin_id == "money-library"
    assert not any(path.startswith("money/") for path in built.sources)
    assert "money" not in sys.modules
