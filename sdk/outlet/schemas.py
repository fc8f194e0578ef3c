"""The published JSON Schemas (draft 2020-12) of plugin.toml and of a package's manifest.json.

They are generated from the types that the platform itself reads these files with. `python -m outlet.schemas FOLDER`
writes them; a test holds the committed ones to the types.
"""

import sys
from pathlib import Path
from typing import Any

import msgspec

from outlet._load import plugin_file_type
from outlet.manifest import (
    BUNDLE_NAME,
    ENTRY,
    EVENT_TYPE,
    HANDLER_NAME,
    HOST_NAME,
    INJECTION_POINTS,
    INTEGRITY,
    PERMISSIONS,
    PLUGIN_ID,
    POOL_NAME,
    ROUTE_PATH,
    TABLE_NAME,
    VERSION,
    Manifest,
)

DRAFT = "https://json-schema.org/draft/2020-12/schema"
FILES = {"plugin.toml": "plugin-toml.schema.json", "manifest.json": "manifest.schema.json"}

# What the types alone do not say, by the name of the definition and its member.
_RULES: dict[tuple[str, str], dict[str, Any]] = {
    ("Manifest", "pluginId"): {"pattern": PLUGIN_ID.pattern, "maxLength": 40},
    ("Manifest", "version"): {"pattern": VERSION.pattern},
    ("Manifest", "entry"): {"pattern": ENTRY.pattern},
    ("_About", "id"): {"pattern": PLUGIN_ID.pattern, "maxLength": 40},
    ("_About", "version"): {"pattern": VERSION.pattern},
    ("Permission", "name"): {"enum": sorted(PERMISSIONS)},
    ("_Permission", "name"): {"enum": sorted(PERMISSIONS)},
    ("Host", "name"): {"pattern": HOST_NAME.pattern},
    ("_Host", "name"): {"pattern": HOST_NAME.pattern},
    ("_Call", "plugin"): {"pattern": PLUGIN_ID.pattern},
    ("PluginCall", "pluginId"): {"pattern": PLUGIN_ID.pattern},
    ("HookDeclaration", "event"): {"pattern": EVENT_TYPE.pattern},
    ("RouteDeclaration", "path"): {"pattern": ROUTE_PATH.pattern},
    ("ScheduleDeclaration", "name"): {"pattern": HANDLER_NAME.pattern},
    ("JobDeclaration", "name"): {"pattern": HANDLER_NAME.pattern},
    ("ComponentDeclaration", "injectionPoint"): {"enum": list(INJECTION_POINTS)},
    ("Bundle", "name"): {"pattern": BUNDLE_NAME.pattern},
    ("Bundle", "integrity"): {"pattern": INTEGRITY.pattern},
    ("_Bundle", "name"): {"pattern": BUNDLE_NAME.pattern},
    ("Manifest", "pool"): {"pattern": POOL_NAME.pattern},
    ("_About", "pool"): {"pattern": POOL_NAME.pattern},
    ("Manifest", "tables"): {"items": {"type": "string", "pattern": f"^({TABLE_NAME.pattern})$"}},
    ("_PluginFile", "tables"): {"items": {"type": "string", "pattern": f"^({TABLE_NAME.pattern})$"}},
}


def schema_of(name: str) -> dict[str, Any]:
    """The schema of ``plugin.toml`` or ``manifest.json``."""
    generated = msgspec.json.schema(plugin_file_type() if name == "plugin.toml" else Manifest)
    for (title, member), rule in _RULES.items():
        if title in generated["$defs"]:
            pattern = {"pattern": f"^({rule['pattern']})$"} if "pattern" in rule else {}
            generated["$defs"][title]["properties"][member] |= rule | pattern
    return {"$schema": DRAFT, "title": f"Outlet {name}", **generated}


def encoded(name: str) -> bytes:
    """A schema as its file holds it."""
    return msgspec.json.format(msgspec.json.encode(schema_of(name), order="sorted"), indent=2) + b"\n"


def write(folder: Path) -> None:
    """Write both schemas into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, file in FILES.items():
        (folder / file).write_bytes(encoded(name))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
