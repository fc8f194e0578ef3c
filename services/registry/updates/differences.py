"""What an update would change: what the plugin asks for, and its settings."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from outlet.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Wish:
    """One thing that a plugin asks an organization to grant, and why."""

    name: str
    purpose: str


@dataclass(frozen=True, slots=True)
class SettingsDifference:
    """The settings (at the top level of the schema) that a version has more, has no more, and declares otherwise."""

    added: list[str]
    removed: list[str]
    changed: list[str]


def wishes(manifest: Manifest) -> list[Wish]:
    """Everything that a version asks for, by the names of grants."""
    return [
        *(Wish(each.name, each.purpose) for each in manifest.permissions),
        *(Wish(f"host:{each.name}", each.purpose) for each in manifest.hosts),
        *(Wish(f"call:{each.plugin_id}", each.purpose) for each in manifest.calls),
    ]


def beyond(manifest: Manifest, other: Manifest) -> list[Wish]:
    """What ``manifest`` asks for and ``other`` does not."""
    known = set(other.wanted_grants())
    return [each for each in wishes(manifest) if each.name not in known]


def carried(grants: Iterable[str], target: Manifest) -> list[str]:
    """The present grants as far as the new version still asks for them: never more than there were."""
    wanted = set(target.wanted_grants())
    return [each for each in grants if each in wanted]


def settings_difference(present: Manifest, target: Manifest) -> SettingsDifference:
    """How the settings of two versions differ."""
    old, new = _properties(present), _properties(target)
    return SettingsDifference(
        added=[name for name in new if name not in old],
        removed=[name for name in old if name not in new],
        changed=[name for name in new if name in old and new[name] != old[name]],
    )


def _properties(manifest: Manifest) -> Mapping[str, Any]:
    properties = manifest.settings_schema.get("properties", {})
    return properties if isinstance(properties, dict) else {}
