"""Documents of the catalogue."""

from datetime import datetime
from typing import Any, Self

import msgspec
from pydantic import Field

from outlet.manifest import Manifest
from outlet.signing import PublicKey
from services.common.wire import Document
from services.registry.catalogue.levels import Level
from services.registry.models import PluginVersion


class PermissionDocument(Document):
    """One thing that the plugin may do, and why."""

    name: str
    purpose: str


class RouteDocument(Document):
    """A custom route below ``/api/plugins/{pluginId}/api``."""

    method: str
    path: str


class ComponentDocument(Document):
    """A component offered at an injection point."""

    injection_point: str
    name: str
    title: str
    priority: int
    route: str | None


class Capabilities(Document):
    """What the plugin's code declares; ``hooks`` are event types."""

    routes: list[RouteDocument]
    hooks: list[str]
    ui_components: list[ComponentDocument]
    permissions: list[PermissionDocument]


class DependencyDocument(Document):
    """Another plugin that must be installed, and the range of its versions that will do."""

    plugin_id: str
    version: str


class ManifestDocument(Document):
    """What one version of a plugin says of itself."""

    plugin_id: str
    name: str
    version: str
    author: str
    description: str
    category: str
    tags: list[str]
    icon: str | None
    homepage: str | None
    repository: str | None
    license: str | None
    capabilities: Capabilities
    dependencies: list[DependencyDocument]
    settings_schema: dict[str, Any] = Field(description="JSON Schema (draft 2020-12) of the configuration.")


class CatalogueEntry(ManifestDocument):
    """The latest version of a plugin, and which others there are, highest first."""

    digest: str
    key_id: str | None = Field(description="The thumbprint of the key it is signed by.")
    level: Level
    published_at: datetime
    versions: list[str] = Field(description="Those that can be installed, the highest first.")

    @classmethod
    def of(cls, version: PluginVersion, versions: list[str]) -> Self:
        """The entry of a plugin whose latest version is ``version``."""
        return cls(
            **manifest_members(version),
            digest=version.digest,
            key_id=key_id_of(version),
            level=Level(version.level),
            published_at=version.published_at,
            versions=versions,
        )


class PublishedVersion(ManifestDocument):
    """One published version."""

    digest: str
    key_id: str | None = Field(description="The thumbprint of the key it is signed by.")
    level: Level = Field(description="Private until a reviewer has approved it.")
    published_at: datetime
    published_by: str

    @classmethod
    def of(cls, version: PluginVersion) -> Self:
        return cls(
            **manifest_members(version),
            digest=version.digest,
            key_id=key_id_of(version),
            level=Level(version.level),
            published_at=version.published_at,
            published_by=version.published_by,
        )


def key_id_of(version: PluginVersion) -> str | None:
    """The id of the key that signed a version."""
    return None if version.public_key is None else PublicKey.read(version.public_key).id


def read_manifest(version: PluginVersion) -> Manifest:
    """The manifest as it was checked when it was published."""
    return msgspec.convert(version.manifest, Manifest)


def manifest_members(version: PluginVersion) -> dict[str, Any]:
    """The members of :class:`ManifestDocument`."""
    manifest = read_manifest(version)
    return {
        **{name: getattr(manifest, name) for name in ManifestDocument.model_fields if name != "capabilities"},
        "capabilities": Capabilities(
            routes=manifest.routes,
            hooks=[hook.event for hook in manifest.hooks],
            ui_components=manifest.components,
            permissions=manifest.permissions,
        ),
    }
