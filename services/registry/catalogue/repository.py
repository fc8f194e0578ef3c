"""SQL of the catalogue."""

from collections import defaultdict
from collections.abc import Collection, Sequence

from sqlalchemy import exists, or_
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from services.registry.catalogue.levels import Level
from services.registry.catalogue.offers import Offer, latest
from services.registry.models import Plugin, PluginPackage, PluginVersion


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
