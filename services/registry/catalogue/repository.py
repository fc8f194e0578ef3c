"""SQL of the catalogue."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import exists, or_
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from services.registry.catalogue.levels import Level
from services.registry.models import Plugin, PluginPackage, PluginVersion

_MANIFEST = col(PluginVersion.manifest)


@dataclass(frozen=True, slots=True)
class CatalogueFilter:
    """Which plugins to list; ``after`` is the id of the last plugin of the previous page."""

    search: str | None = None
    category: str | None = None
    after: str | None = None


class CatalogueRepository:
    """Plugins, their versions and packages, within one transaction."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def claim(self, plugin_id: str, organization: str, version: str) -> Plugin:
        """The plugin, made for ``organization`` when nobody has it; locked until the transaction ends."""
        plugin = {"id": plugin_id, "publisher_organization": organization, "latest_version": version}
        await self._session.exec(insert(Plugin).values(plugin).on_conflict_do_nothing())
        statement = select(Plugin).where(col(Plugin.id) == plugin_id).with_for_update()
        return (await self._session.exec(statement)).one()

    async def verified_ids_of_others(self, organization: str) -> Sequence[str]:
        """The ids of the plugins that other organizations publish and a reviewer has verified."""
        statement = select(col(Plugin.id)).where(
            col(Plugin.publisher_organization) != organization,
            exists().where(col(PluginVersion.plugin_id) == col(Plugin.id), col(PluginVersion.level) == Level.VERIFIED),
        )
        return (await self._session.exec(statement)).all()

    async def version(self, plugin_id: str, version: str) -> PluginVersion | None:
        return await self._session.get(PluginVersion, (plugin_id, version))

    async def latest(self, plugin_id: str) -> PluginVersion | None:
        """The version that an installation gets when it names none."""
        plugin = await self._session.get(Plugin, plugin_id)
        return None if plugin is None else await self.version(plugin_id, plugin.latest_version)

    async def add(self, version: PluginVersion, package: bytes) -> None:
        """Keep a new version with its bytes."""
        self._session.add(version)
        await self._session.flush()  # the package refers to it
        self._session.add(PluginPackage(digest=version.digest, data=package))

    async def package(self, digest: str) -> bytes | None:
        """The bytes of the package with this digest."""
        found = await self._session.get(PluginPackage, digest)
        return None if found is None else found.data

    async def search(self, wanted: CatalogueFilter, limit: int) -> Sequence[PluginVersion]:
        """The latest version of each plugin that matches, by plugin id."""
        statement = (
            select(PluginVersion)
            .join(Plugin, col(Plugin.id) == col(PluginVersion.plugin_id))
            .where(col(Plugin.latest_version) == col(PluginVersion.version))
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

    async def versions(self, plugin_ids: Collection[str]) -> dict[str, list[str]]:
        """All versions of each plugin, in no order."""
        statement = select(col(PluginVersion.plugin_id), col(PluginVersion.version))
        found: dict[str, list[str]] = defaultdict(list)
        for plugin_id, version in await self._session.exec(
            statement.where(col(PluginVersion.plugin_id).in_(plugin_ids))
        ):
            found[plugin_id].append(version)
        return found
