"""JavaScript bundles: built by the author's own tools, packed with the digest that browsers check."""

import base64
import gzip
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from outlet._package_error import PackageError
from outlet.manifest import Bundle

BUNDLE_PATH = re.compile(r"bundles/[a-z][a-z0-9-]{0,39}\.js")


def bundle_path(name: str) -> str:
    """Where a bundle is in the package."""
    return f"bundles/{name}.js"


def describe_bundle(name: str, data: bytes) -> Bundle:
    """A bundle as the manifest tells of it. The size as gzip is of one level everywhere, without a time in it."""
    digest = base64.b64encode(hashlib.sha384(data).digest()).decode()
    compressed = len(gzip.compress(data, compresslevel=9, mtime=0))
    return Bundle(name=name, integrity=f"sha384-{digest}", bytes=len(data), compressed_bytes=compressed)


def read_bundles(folder: Path, wanted: Sequence[tuple[str | None, str]]) -> list[tuple[Bundle, bytes]]:
    """The bundles that plugin.toml names, by name (its file's unless given) and file. Raises :class:`PackageError`."""
    found: list[tuple[Bundle, bytes]] = []
    for name, file in wanted:
        path = folder / file
        if not path.resolve().is_relative_to(folder.resolve()):
            raise PackageError(
                f"plugin.toml: in bundles.file: {file!r} leaves the plugin's folder; copy the file there"
            )
        try:
            data = path.read_bytes()
        except OSError as error:
            reason = error.strerror
            raise PackageError(f"plugin.toml: in bundles.file: {file}: {reason}; build the screens first") from error
        if path.suffix not in (".js", ".mjs") or not data:
            raise PackageError(f"plugin.toml: in bundles.file: {file!r} is no JavaScript file with something in it")
        found.append((describe_bundle(name or path.name.partition(".")[0], data), data))
    return found
