"""Packages with screens and with other packages in them, and packages that are the same wherever they are built."""

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from outlet import manifest as manifests
from outlet import package
from outlet._vendoring import LOCK_FILE, lock
from outlet.package import PackageError

ABOUT = """
[plugin]
id = "probe"
name = "Probe"
version = "1.0.0"
author = "Tests"
description = "For tests."
"""
CODE = "from outlet import Component, Plugin\nplugin = Plugin()\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "plugin"
    (made / "probe").mkdir(parents=True)
    (made / "probe" / "__init__.py").write_text(CODE)
    (made / "plugin.toml").write_text(ABOUT)
    return made


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels in the place of a package index."""
    made = tmp_path / "wheels"
    made.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(made))
    return made


def wheel(index: Path, name: str, files: dict[str, str], *, requires: str = "", tag: str = "py3-none-any") -> None:
    about = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n" + (
        f"Requires-Dist: {requires}\n" if requires else ""
    )
    kind = f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n"
    parts = {**files, f"{name}-1.0.dist-info/METADATA": about, f"{name}-1.0.dist-info/WHEEL": kind}
    with zipfile.ZipFile(index / f"{name}-1.0-{tag}.whl", "w") as archive:
        for path, text in {**parts, f"{name}-1.0.dist-info/RECORD": ""}.items():
            archive.writestr(path, text)


def require(folder: Path, *packages: str) -> None:
    (folder / "plugin.toml").write_text(f"{ABOUT}\n[python]\nrequires = {list(packages)}\n")


def test_packages_from_an_index_become_part_of_the_plugin(folder: Path, index: Path) -> None:
    wheel(index, "slugs", {"slugs/__init__.py": "import words\nmade = words.word + '!'\n"}, requires="words")
    wheel(index, "words", {"words.py": "word = 'tea'\n"})
    require(folder, "slugs>=1")
    (folder / "probe" / "__init__.py").write_text("import slugs\nassert slugs.made == 'tea!'\n" + CODE)
    assert [found.name for found in lock(folder, ["slugs>=1"])] == ["slugs", "words"]
    built = package.build(folder)
    assert built.sources.keys() == {"probe/__init__.py", "slugs/__init__.py", "words.py"}
    digest = hashlib.sha256((index / "words-1.0-py3-none-any.whl").read_bytes()).hexdigest()
    assert [(each.name, each.version) for each in built.manifest.python] == [("slugs", "1.0"), ("words", "1.0")]
    assert built.manifest.python[1].sha256 == digest


def test_another_wheel_than_the_locked_one_is_refused(folder: Path, index: Path) -> None:
    wheel(index, "words", {"words.py": "word = 'tea'\n"})
    require(folder, "words")
    lock(folder, ["words"])
    wheel(index, "words", {"words.py": "import os\n"})
    with pytest.raises(PackageError, match=r"python\.requires.*\n?.*(?s:HASH|hash|DO NOT MATCH)"):
        package.build(folder)


@pytest.mark.parametrize(
    ("files", "tag", "refused"),
    [
        ({"words.py": "", "words_fast.so": "x"}, "py3-none-any", r"compiled code \(words_fast\.so\)"),
        ({"words.py": ""}, "cp311-cp311-linux_x86_64", "no wheels of pure Python"),
        ({"json.py": ""}, "py3-none-any", "the module 'json', which the plugin, Python or Outlet has"),
        ({"probe/more.py": ""}, "py3-none-any", "the module 'probe', which"),
        ({"README.txt": ""}, "py3-none-any", "has no modules"),
    ],
)
def test_what_cannot_run_or_hides_another_module_is_refused(
    folder: Path, index: Path, files: dict[str, str], tag: str, refused: str
) -> None:
    wheel(index, "words", files, tag=tag)
    require(folder, "words")

    def locked_and_built() -> None:
        lock(folder, ["words"])
        package.build(folder)

    with pytest.raises(PackageError, match=refused):
        locked_and_built()


def test_requirements_and_lock_agree(folder: Path, index: Path) -> None:
    wheel(index, "words", {"words.py": ""})
    require(folder, "words")
    with pytest.raises(PackageError, match=r"outlet\.lock: does not exist.*run: outlet lock"):
        package.build(folder)
    lock(folder, ["words<2"])
    with pytest.raises(PackageError, match=r"is for \['words<2'\], and plugin\.toml asks for \['words'\]"):
        package.build(folder)
    (folder / LOCK_FILE).write_text("x")
    with pytest.raises(PackageError, match=r"outlet\.lock: .*run: outlet lock"):
        package.build(folder)


def bundled(folder: Path, script: str, component: str = "") -> None:
    (folder / "ui").mkdir()
    (folder / "ui" / "points.js").write_text(script)
    (folder / "plugin.toml").write_text(f'{ABOUT}\n[[bundles]]\nfile = "ui/points.js"\n')
    (folder / "probe" / "__init__.py").write_text(CODE + component)


COMPONENT = """
@plugin.component("Customer.Profile")
def points():
    return Component(title="Points", bundle="{}")
"""


def test_a_screens_bundle_is_packed_with_the_digest_that_browsers_check(folder: Path) -> None:
    bundled(folder, "export default 1", COMPONENT.format("points"))
    built = package.build(folder)
    [bundle] = built.manifest.bundles
    digest = base64.b64encode(hashlib.sha384(b"export default 1").digest()).decode()
    assert (bundle.name, bundle.bytes, bundle.integrity) == ("points", 16, f"sha384-{digest}")
    assert built.bundles == {"points": b"export default 1"}
    assert built.manifest.components[0].bundle == "points"
    assert set(built.sources) == {"probe/__init__.py"}  # none of it goes to the sandbox as code


def test_a_bundle_has_a_budget(folder: Path) -> None:
    noise = "".join(hashlib.sha256(str(number).encode()).hexdigest() for number in range(3_000))
    bundled(folder, noise)
    with pytest.raises(PackageError, match=r"points has \d+ bytes as gzip; at most 65536 are allowed: leave libraries"):
        package.build(folder)


def test_a_component_draws_with_a_bundle_that_there_is(folder: Path) -> None:
    bundled(folder, "1", COMPONENT.format("other"))
    with pytest.raises(PackageError, match=r"components\.bundle: 'other' is no bundle; bundles are \['points'\]"):
        package.build(folder)


@pytest.mark.parametrize("file", ["ui/none.js", "../secret.js", "plugin.toml"])
def test_a_bundle_is_a_script_within_the_folder(folder: Path, file: str) -> None:
    (folder.parent / "secret.js").write_text("1")
    (folder / "plugin.toml").write_text(f'{ABOUT}\n[[bundles]]\nfile = "{file}"\n')
    with pytest.raises(PackageError, match=r"bundles\.file"):
        package.build(folder)


def test_a_bundle_that_was_exchanged_is_refused(folder: Path) -> None:
    bundled(folder, "export default 1")
    built = package.build(folder)
    files = {"manifest.json": b"", "bundles/points.js": b"export default 2", **built.sources}
    with zipfile.ZipFile(Path(folder, "x.zip"), "w") as archive:
        archive.writestr("manifest.json", manifests.encode(built.manifest))
        for path in sorted(files.keys() - {"manifest.json"}):
            archive.writestr(path, files[path])
    with pytest.raises(PackageError, match=r"bundles/points\.js is not the file that the manifest tells of"):
        package.open_package(Path(folder, "x.zip").read_bytes())


BUILD = """
import os, sys
from outlet import manifest as manifests
from outlet import package
os.umask(int(sys.argv[2], 8))
print(package.build(sys.argv[1]).digest)
"""


def test_the_same_plugin_is_the_same_package_anywhere_and_any_time(folder: Path, index: Path, tmp_path: Path) -> None:
    """On another path, with other dates, modes, umask, hash seed, time zone and order of directory entries."""
    bundled(folder, "export default 1", COMPONENT.format("points"))
    wheel(index, "words", {"words.py": "", "more/__init__.py": ""})
    with (folder / "plugin.toml").open("a") as file:
        file.write('\n[python]\nrequires = ["words"]\n')
    for number in range(5):
        (folder / "probe" / f"part_{number}.py").write_text(f"value = {number}\n")
    lock(folder, ["words"])
    first = _built(folder, "022", PYTHONHASHSEED="1", TZ="UTC")
    copy = tmp_path / "elsewhere" / "a copy"
    shutil.copytree(folder, copy)
    for path in sorted(copy.rglob("*.py"), reverse=True):
        data = path.read_bytes()
        path.unlink()
        path.write_bytes(data)
        path.chmod(0o755)
        os.utime(path, (time.time() - 10**8,) * 2)
    assert _built(copy, "077", PYTHONHASHSEED="999", TZ="Asia/Tokyo", SOURCE_DATE_EPOCH="1") == first


def _built(folder: Path, umask: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(folder), umask],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()
