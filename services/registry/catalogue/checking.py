"""Whether a package could be installed at all, told from its bytes."""

import json
from typing import Any

from outlet.manifest import Manifest, encode
from outlet.package import Package, PackageError, open_package
from services.common.errors import Unprocessable
from services.registry.catalogue.versions import check_range
from services.registry.configuration import InvalidSettingsSchema, check_settings_schema
from services.registry.documents import UnfitDocument, check_document

MAX_MANIFEST_BYTES = 256 * 1024
"""The manifest travels with every state of every installation, in one Kafka record."""
MAX_VERSION = 64


def manifest_document(manifest: Manifest) -> dict[str, Any]:
    """The manifest as the database keeps it."""
    document: dict[str, Any] = json.loads(encode(manifest))
    return document


def open_checked(data: bytes) -> Package:
    """The package in these bytes. Raises Unprocessable (``invalid_package``) when an installation could not work."""
    try:
        package = open_package(data)
        _check(package.manifest)
    except (PackageError, UnfitDocument, InvalidSettingsSchema, ValueError, RecursionError) as error:
        raise Unprocessable(
            f"The package cannot be published: {error}",
            code="invalid_package",
            remedy="Correct plugin.toml or the code, build again, and publish.",
        ) from error
    return package


def _check(manifest: Manifest) -> None:
    check_document(manifest_document(manifest), limit=MAX_MANIFEST_BYTES)
    if len(manifest.version) > MAX_VERSION:
        raise UnfitDocument(f"version: at most {MAX_VERSION} characters")
    for dependency in manifest.dependencies:
        check_range(dependency.version)
    try:
        check_settings_schema(manifest.settings_schema)
    except InvalidSettingsSchema as error:
        raise InvalidSettingsSchema(f"settings: {error}") from error
