"""Plugin packages: one immutable zip, named by its digest.

The first entry is ``manifest.json``; after it the plugin's ``.py`` files follow, sorted, with fixed timestamps, so that
the same plugin gives the same bytes.
"""

import hashlib
import io
import re
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from outlet import manifest as manifests
from outlet._bundles import BUNDLE_PATH, bundle_path, describe_bundle
from outlet._load import read_plugin
from outlet._package_error import PackageError
from outlet.manifest import Manifest, ManifestError

__all__ = ["MAX_BYTES", "MAX_UNCOMPRESSED_BYTES", "MEDIA_TYPE", "Package", "PackageError", "build", "open_package"]

MEDIA_TYPE = "application/vnd.outlet.package"
MAX_BYTES = 4 * 1024 * 1024
MAX_UNCOMPRESSED_BYTES = 16 * 1024 * 1024
MAX_FILES = 2_000

MANIFEST = "manifest.json"
SOURCE_PATH = re.compile(r"([A-Za-z_][A-Za-z0-9_]*/)*[A-Za-z_][A-Za-z0-9_]*\.py")
SHOWN_FILES = 3

_TIMESTAMP = (1980, 1, 1, 0, 0, 0)  # the earliest a zip can hold
# All that zipfile raises for hostile bytes; NotImplementedError is its word for a compression it does not know.
_UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OverflowError, ValueError)


@dataclass(frozen=True, slots=True)
class Package:
    """``data`` are the zip's bytes, ``digest`` is ``sha256:<hex>`` of them, ``sources`` the Python files by path.

    ``bundles``: the JavaScript by name.
    """

    manifest: Manifest
    data: bytes
    digest: str
    sources: Mapping[str, bytes]
    bundles: Mapping[str, bytes] = field(default_factory=dict)


def build(folder: str | Path) -> Package:
    """Build the plugin in ``folder`` (its plugin.toml and packages). Imports it. Raises :class:`PackageError`."""
    manifest, files = read_plugin(Path(folder))
    return _packed(manifest, files)


def with_version(package: Package, version: str) -> Package:
    """The same package under another version. Raises :class:`PackageError`."""
    bundles = {bundle_path(name): data for name, data in package.bundles.items()}
    return _packed(msgspec.structs.replace(package.manifest, version=version), {**package.sources, **bundles})


def _packed(manifest: Manifest, files: Mapping[str, bytes]) -> Package:
    data = _zip({MANIFEST: manifests.encode(manifest), **files})
    if len(data) > MAX_BYTES:
        raise PackageError(f"the package has {len(data)} bytes; at most {MAX_BYTES} are allowed. {_largest(files)}")
    return open_package(data)


def digest_of(data: bytes) -> str:
    """The name of a package: ``sha256:<hex>`` of its bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def open_package(data: bytes) -> Package:
    """Read and check a package without running its code. Raises :class:`PackageError`."""
    if len(data) > MAX_BYTES:
        raise PackageError(f"the package has {len(data)} bytes; at most {MAX_BYTES} are allowed")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            files = _files(archive)
    except _UNREADABLE as error:
        raise PackageError(f"not a readable zip: {error}") from error
    try:
        manifest = manifests.decode(files.pop(MANIFEST))
    except ManifestError as error:
        raise PackageError(str(error)) from error
    module = manifest.entry.partition(":")[0].replace(".", "/")
    if not {f"{module}/__init__.py", f"{module}.py"} & files.keys():
        raise PackageError(f"manifest.json: entry {manifest.entry!r} names a module that the package does not hold")
    bundles = _bundles(manifest, files)
    sources = {path: content for path, content in files.items() if not BUNDLE_PATH.fullmatch(path)}
    return Package(manifest, data, digest_of(data), sources, bundles)


def _bundles(manifest: Manifest, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The bundles by name: those that the manifest tells of, as it tells of them. Raises :class:`PackageError`."""
    found = {bundle_path(bundle.name): bundle for bundle in manifest.bundles}
    present = {path for path in files if BUNDLE_PATH.fullmatch(path)}
    if present != found.keys():
        odd = sorted(present ^ found.keys())[0]
        raise PackageError(f"manifest.json: bundles: {odd} is in the manifest or in the package, and not in both")
    for path, bundle in found.items():
        if describe_bundle(bundle.name, files[path]) != bundle:
            raise PackageError(f"manifest.json: bundles.integrity: {path} is not the file that the manifest tells of")
    return {bundle.name: files[path] for path, bundle in found.items()}


def _largest(files: Mapping[str, bytes]) -> str:
    by_size = sorted(files, key=lambda path: len(files[path]), reverse=True)[:SHOWN_FILES]
    return "The largest files: " + ", ".join(f"{path} ({len(files[path])} bytes)" for path in by_size)


def _files(archive: zipfile.ZipFile) -> dict[str, bytes]:
    entries = archive.infolist()
    names = [entry.filename for entry in entries]
    if not names or names[0] != MANIFEST:
        raise PackageError(f"the first file must be {MANIFEST}")
    if len(names) > MAX_FILES:
        raise PackageError(f"{len(names)} files; at most {MAX_FILES} are allowed")
    if len(set(names)) != len(names):
        raise PackageError("a file is in the package twice")
    for name in names[1:]:
        if not SOURCE_PATH.fullmatch(name) and not BUNDLE_PATH.fullmatch(name):
            raise PackageError(f"{name!r}: only {MANIFEST}, bundles and the .py files of Python packages are allowed")
    size = sum(entry.file_size for entry in entries)
    if size > MAX_UNCOMPRESSED_BYTES:
        raise PackageError(f"{size} bytes when unpacked; at most {MAX_UNCOMPRESSED_BYTES} are allowed")
    # zipfile reads no more of an entry than its declared size, whatever is compressed in it.
    return {entry.filename: archive.read(entry) for entry in entries}


def _zip(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in [MANIFEST, *sorted(files.keys() - {MANIFEST})]:
            entry = zipfile.ZipInfo(path, _TIMESTAMP)
            entry.create_system = 3  # the same bytes wherever it is built
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, files[path], zipfile.ZIP_DEFLATED, compresslevel=9)
    return buffer.getvalue()
