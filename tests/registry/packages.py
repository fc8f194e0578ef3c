"""Plugin packages for tests, made without building a plugin."""

import io
import zipfile
from typing import Any

import msgspec

from outlet.manifest import Manifest, encode

SETTINGS = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "rate": {"type": "number", "minimum": 0, "default": 1},
        "label": {"type": "string", "maxLength": 20},
    },
}


def manifest(plugin_id: str, version: str = "1.0.0", **members: Any) -> Manifest:
    """A manifest with one hook, route, component and permission; ``members`` (camelCase) replace or add."""
    document = {
        "pluginId": plugin_id,
        "name": plugin_id.replace("-", " ").title(),
        "version": version,
        "author": "Tests",
        "description": "Does as it is told.",
        "entry": "told:plugin",
        "category": "loyalty",
        "tags": ["test"],
        "permissions": [
            {"name": "sale:read", "purpose": "to count them"},
            {"name": "customer:read", "purpose": "to know them"},
        ],
        "settingsSchema": SETTINGS,
        "lifecycle": ["onInstall"],
        "hooks": [{"event": "sale.created"}],
        "routes": [{"method": "GET", "path": "/points/{customer_id}"}],
        "components": [{"injectionPoint": "POS.AfterCheckout", "name": "earned", "title": "Points earned"}],
    }
    return msgspec.convert(document | members, Manifest)


def package(plugin_id: str, version: str = "1.0.0", *, code: str = "plugin = None\n", **members: Any) -> bytes:
    """The bytes of a package."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, content in (
            ("manifest.json", encode(manifest(plugin_id, version, **members))),
            ("told/__init__.py", code.encode()),
        ):
            archive.writestr(zipfile.ZipInfo(path, (1980, 1, 1, 0, 0, 0)), content)
    return buffer.getvalue()
