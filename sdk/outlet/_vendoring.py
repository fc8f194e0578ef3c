"""Python packages from an index that become part of a plugin: locked by hash, pure Python, without conflicts."""

import hashlib
import io
import re
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from outlet._package_error import PackageError
from outlet.manifest import PythonPackage

LOCK_FILE = "outlet.lock"
TAGS = [
    "--only-binary=:all:",
    "--platform",
    "any",
    "--implementation",
    "py",
    "--abi",
    "none",
    "--python-version",
    "3.11",
]
"""A wheel that runs everywhere, or none."""
PIP_SECONDS = 300
MODULE_PATH = re.compile(r"([A-Za-z_][A-Za-z0-9_]*/)*[A-Za-z_][A-Za-z0-9_]*\.py")
COMPILED = (".so", ".pyd", ".dll", ".dylib")
WHEEL = re.compile(r"(?P<name>[A-Za-z0-9_.]+)-(?P<version>[^-]+)(-[^-]+)?-[^-]+-none-any\.whl")


class _Locked(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    version: str
    wheel: str
    sha256: str


class _Lock(msgspec.Struct, forbid_unknown_fields=True):
    requires: tuple[str, ...]
    package: tuple[_Locked, ...] = ()


@dataclass(frozen=True)
class Vendored:
    """The modules of other packages by path, and which packages they are of."""

    packages: tuple[PythonPackage, ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)


def lock(folder: Path, requires: Sequence[str]) -> tuple[PythonPackage, ...]:
    """Resolve ``requires`` (PEP 508) and write outlet.lock. Raises :class:`PackageError`."""
    with tempfile.TemporaryDirectory() as place:
        if requires:
            _pip("download", "--quiet", *TAGS, "--dest", place, *requires)
        wheels = sorted(Path(place).iterdir())
        locked = tuple(_locked(path) for path in wheels)
    _write_lock(folder / LOCK_FILE, _Lock(tuple(requires), locked))
    return tuple(PythonPackage(name=one.name, version=one.version, sha256=one.sha256) for one in locked)


def vendor(folder: Path, requires: Sequence[str], taken: Collection[str]) -> Vendored:
    """What the lock file names, fetched and unpacked; ``taken`` are the names of modules that exist already.

    Raises :class:`PackageError`: when the lock is missing or of other requirements, a wheel is not the locked one, a
    package is not pure Python, or two of them have the same module.
    """
    if not requires:
        return Vendored()
    path = folder / LOCK_FILE
    known = _read_lock(path)
    if known.requires != tuple(requires):
        raise PackageError(
            f"{path}: is for {list(known.requires)}, and plugin.toml asks for {list(requires)}; run: outlet lock"
        )
    files: dict[str, bytes] = {}
    owners: dict[str, str] = dict.fromkeys(taken, "the plugin, Python or Outlet")
    for locked, data in zip(known.package, _fetch(known.package), strict=True):
        found = _modules(locked, data)
        for top in sorted({name.partition("/")[0].removesuffix(".py") for name in found}):
            if top in owners:
                detail = f"{locked.name} brings the module {top!r}, which {owners[top]} has; leave one of them out"
                raise PackageError(f"plugin.toml: in python.requires: {detail}")
            owners[top] = locked.name
        files |= found
    packages = tuple(PythonPackage(name=one.name, version=one.version, sha256=one.sha256) for one in known.package)
    return Vendored(packages, files)


def _fetch(wanted: Iterable[_Locked]) -> list[bytes]:
    """The wheels, from what pip keeps or the index. Each has the digest that was locked."""
    wanted = list(wanted)
    with tempfile.TemporaryDirectory() as place:
        listed = Path(place) / "requirements.txt"
        listed.write_text("".join(f"{one.name}=={one.version} --hash=sha256:{one.sha256}\n" for one in wanted))
        _pip("download", "--quiet", "--no-deps", "--require-hashes", *TAGS, "--dest", place, "-r", str(listed))
        return [_checked(one, (Path(place) / one.wheel)) for one in wanted]


def _checked(locked: _Locked, path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise PackageError(
            f"{LOCK_FILE}: in package.wheel: pip has brought no {locked.wheel}; run: outlet lock"
        ) from None
    if hashlib.sha256(data).hexdigest() != locked.sha256:
        raise PackageError(f"{LOCK_FILE}: in package.sha256: {locked.wheel} is not the file that was locked")
    return data


def _modules(locked: _Locked, data: bytes) -> dict[str, bytes]:
    """The modules in a wheel. Data files, scripts and metadata stay behind. Raises :class:`PackageError`."""
    found: dict[str, bytes] = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for entry in sorted(archive.infolist(), key=lambda each: each.filename):
            name = entry.filename
            if name.endswith(COMPILED):
                detail = f"{locked.name} has compiled code ({name}); only pure Python runs here"
                raise PackageError(f"plugin.toml: in python.requires: {detail}")
            if MODULE_PATH.fullmatch(name):
                found[name] = archive.read(entry)
    if not found:
        raise PackageError(f"plugin.toml: in python.requires: {locked.name} has no modules; leave it out")
    return found


def _locked(path: Path) -> _Locked:
    match = WHEEL.fullmatch(path.name)
    if match is None:
        raise PackageError(
            f"plugin.toml: in python.requires: {path.name} is not pure Python, so it cannot run in a plugin"
        )
    return _Locked(match["name"], match["version"], path.name, hashlib.sha256(path.read_bytes()).hexdigest())


def _read_lock(path: Path) -> _Lock:
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _Lock)
    except FileNotFoundError:
        raise PackageError(f"{path}: does not exist, and plugin.toml has python.requires; run: outlet lock") from None
    except (OSError, ValueError) as error:
        raise PackageError(f"{path}: {error}; run: outlet lock") from error


def _write_lock(path: Path, content: _Lock) -> None:
    lines = ["# Written by: outlet lock", f"requires = {msgspec.json.encode(content.requires).decode()}"]
    for one in content.package:
        about = msgspec.structs.asdict(one).items()
        lines += ["", "[[package]]", *(f"{key} = {msgspec.json.encode(value).decode()}" for key, value in about)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _pip(*arguments: str) -> None:
    """Run pip. Raises :class:`PackageError` with what it said."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PIP_SECONDS, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PackageError(f"plugin.toml: in python.requires: pip could not be run: {error}") from error
    if done.returncode:
        said = "\n".join(done.stderr.strip().splitlines()[-6:])
        raise PackageError(
            "plugin.toml: in python.requires: pip found no wheels of pure Python for this; ask for other versions, or "
            f"for packages without compiled parts. pip says:\n{said}"
        )
