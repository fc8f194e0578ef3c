"""Documents of the catalogue."""

from datetime import datetime
from typing import Any, Literal, Self

import msgspec
from pydantic import Field

from outlet.manifest import Manifest, PriceModel
from outlet.signing import PublicKey
from services.common.wire import Document, Page
from services.registry.catalogue.levels import Level
from services.registry.listings.models import Listing
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
    hosts: list[PermissionDocument] = Field(description="Hosts outside that it fetches from, as `host:NAME` in grants.")
    calls: list[PermissionDocument] = Field(description="Plugins that it calls, as `call:ID` in grants.")


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


class PriceDocument(Document):
    """What a plugin costs. ``amount`` is in the minor unit of the currency (ISO 4217)."""

    model: PriceModel
    amount: int
    currency: str | None
    trial_days: int
    period: Literal["month", "year"] | None


class Rating(Document):
    """What reviews say; those that are hidden do not count."""

    average: float | None = Field(description="From 1 to 5; null: there are no reviews.")
    count: int
    histogram: list[int] = Field(description="How many gave 1, 2, 3, 4 and 5.")

    @classmethod
    def of(cls, ratings: list[int]) -> Self:
        count = sum(ratings)
        total = sum(stars * number for stars, number in enumerate(ratings, 1))
        return cls(average=round(total / count, 2) if count else None, count=count, histogram=ratings)


class CatalogueEntry(ManifestDocument):
    """The latest version of a plugin, and which others there are, highest first."""

    digest: str
    key_id: str | None = Field(description="The thumbprint of the key it is signed by.")
    level: Level
    published_at: datetime
    versions: list[str] = Field(description="Those that can be installed, the highest first.")
    price: PriceDocument
    featured: bool
    downloads: int = Field(description="How many installations there have ever been.")
    rating: Rating

    @classmethod
    def of(cls, version: PluginVersion, versions: list[str], listing: Listing) -> Self:
        """The entry of a plugin whose latest version is ``version``."""
        return cls(
            **manifest_members(version),
            digest=version.digest,
            key_id=key_id_of(version),
            level=Level(version.level),
            published_at=version.published_at,
            versions=versions,
            price=PriceDocument.model_validate(read_manifest(version).price),
            featured=listing.featured,
            downloads=listing.downloads,
            rating=Rating.of(listing.ratings),
        )


class Facets(Document):
    """How many of the plugins that match are of each kind, each counted as if that kind was not asked for."""

    categories: dict[str, int] = Field(default_factory=dict)
    prices: dict[str, int] = Field(default_factory=dict)
    featured: int = 0


class CataloguePage(Page[CatalogueEntry]):
    """Some plugins of the marketplace."""

    facets: Facets | None = Field(default=None, description="On the first page; null on further ones.")


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
            hosts=manifest.hosts,
            calls=[PermissionDocument(name=call.plugin_id, purpose=call.purpose) for call in manifest.calls],
        ),
    }
