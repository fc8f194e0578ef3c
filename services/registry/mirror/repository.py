"""SQL of what is mirrored, on either side."""

from collections.abc import Sequence

from sqlalchemy import tuple_
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from services.registry.catalogue.levels import Level
from services.registry.models import Plugin, PluginVersion


class MirrorRepository:
    """Public versions within one transaction."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def public(self, after: tuple[str, str] | None, limit: int) -> Sequence[tuple[Plugin, PluginVersion]]:
        """Signed versions that everyone may know of, withdrawn ones included, by plugin id and version."""
        position = (col(PluginVersion.plugin_id), col(PluginVersion.version))
        statement = (
            select(Plugin, PluginVersion)
            .join(PluginVersion, col(Plugin.id) == col(PluginVersion.plugin_id))
            .where(col(PluginVersion.level) != Level.PRIVATE, col(PluginVersion.signature).is_not(None))
            .order_by(*position)
            .limit(limit)
        )
        if after is not None:
            statement = statement.where(tuple_(*position) > tuple_(*after))
        return (await self._session.exec(statement)).all()

    async def mirrored(self) -> Sequence[tuple[str, str]]:
        """The plugin id and version of all that came from upstream and is not withdrawn."""
        statement = (
            select(col(PluginVersion.plugin_id), col(PluginVersion.version))
            .join(Plugin, col(Plugin.id) == col(PluginVersion.plugin_id))
            .where(col(Plugin.mirrored), col(PluginVersion.yanked_at).is_(None))
        )
        return (await self._session.exec(statement)).all()
