"""SQL of the catalogue."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import case, exists, or_
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from services.registry.catalogue.levels import Level
from services.registry.catalogue.offers import Offer, latest
from services.registry.models import Plugin, PluginPackage, PluginVersion

_MANIFEST = col(PluginVersion.manifest)


@dataclass(frozen=True, slots=True)
class CatalogueFilter:
    """Which plugins to list for whom; ``after`` is the id of the last plugin of the previous page."""

    organization: str
    search: str | None = None
    category: str | None = None
    after: str | None = None


class CatalogueRepository:
    """Plugins, their versions and packages, within one transaction."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def claim(self, plugin_id: str, organization: str, *, mirrored: bool = False) -> tuple[Plugin, bool]:
        """The plugin, made for ``organization`` when nobody has it (True); locked until the transaction ends."""
        row = {"id": plugin_id, "publisher_organization": organization, "mirrored": mirrored}
        statement = insert(Plugin).values(row).on_conflict_do_nothing().returning(col(Plugin.id))
        new = (await self._session.exec(statement)).one_or_none() is not None
        plugin = await self.lock(plugin_id)
        assert plugin is not None  # noqa: S101  no plugin is ever deleted
        return plugin, new

    async def plugin(self, plugin_id: str) -> Plugin | None:
        return await self._session.get(Plugin, plugin_id)

    async def lock(self, plugin_id: str) -> Plugin | None:
        """The plugin; nobody else changes it or its versions until the transaction ends."""
        statement = select(Plugin).where(col(Plugin.id) == plugin_id).with_for_update()
        return (await self._session.exec(statement)).one_or_none()

    async def verified_ids_of_others(self, organization: str) -> Sequence[str]:
        """The ids of the plugins that other organizations publish and a reviewer has verified."""
        statement = select(col(Plugin.id)).where(
            col(Plugin.publisher_organization) != organization,
            exists().where(col(PluginVersion.plugin_id) == col(Plugin.id), col(PluginVersion.level) == Level.VERIFIED),
        )
        return (await self._session.exec(statement)).all()

    async def version(self, plugin_id: str, version: str) -> PluginVersion | None:
        return await self._session.get(PluginVersion, (plugin_id, version))

    async def refresh_latest(self, plugin: Plugin) -> None:
        """Find anew what of a locked plugin is offered, after a version has come, changed or gone."""
        await self._session.flush()
        offers = (await self.offers([plugin.id]))[plugin.id]
        plugin.latest_version, plugin.latest_public = latest(offers, own=True), latest(offers, own=False)

    async def add(self, version: PluginVersion) -> None:
        """Keep a new version; its package comes after it."""
        self._session.add(version)
        await self._session.flush()  # the package refers to it

    def add_package(self, digest: str, data: bytes) -> None:
        """Keep the bytes of a version that is there."""
        self._session.add(PluginPackage(digest=digest, data=data))

    async def package(self, digest: str) -> bytes | None:
        """The bytes of the package with this digest."""
        found = await self._session.get(PluginPackage, digest)
        return None if found is None else found.data

    async def search(self, wanted: CatalogueFilter, limit: int) -> Sequence[tuple[Plugin, PluginVersion]]:
        """The latest version of each plugin that matches, of those that the organization can install, by plugin id."""
        own = col(Plugin.publisher_organization) == wanted.organization
        statement = (
            select(Plugin, PluginVersion)
            .join(PluginVersion, col(Plugin.id) == col(PluginVersion.plugin_id))
            .where(col(PluginVersion.version) == case((own, col(Plugin.latest_version)), else_=Plugin.latest_public))
            .order_by(col(Plugin.id))
            .limit(limit)
        )
        if wanted.after is not None:
            statement = statement.where(col(Plugin.id) > wanted.after)
        if wanted.category is not None:
            statement = statement.where(_MANIFEST["category"].astext == wanted.category)
        if wanted.search is not None:
            texts = (col(Plugin.id), *(_MANIFEST[key].astext for key in ("name", "description", "author", "tags")))
            statement = statement.where(or_(*(text.icontains(wanted.search, autoescape=True) for text in texts)))
        return (await self._session.exec(statement)).all()

    async def offers(self, plugin_ids: Collection[str]) -> dict[str, list[Offer]]:
        """All versions of each plugin, in no order."""
        gone = or_(col(PluginVersion.yanked_at).is_not(None), col(PluginVersion.revoked_at).is_not(None))
        statement = select(
            col(PluginVersion.plugin_id), col(PluginVersion.version), col(PluginVersion.level), gone
        ).where(col(PluginVersion.plugin_id).in_(plugin_ids))
        found: dict[str, list[Offer]] = defaultdict(list)
        for plugin_id, version, level, withdrawn in await self._session.exec(statement):
            found[plugin_id].append(Offer(version, Level(level), withdrawn))
        return found
