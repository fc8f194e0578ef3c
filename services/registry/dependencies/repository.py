"""SQL of what plugins need."""

from collections import defaultdict
from collections.abc import Collection
from typing import Any

import msgspec
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from outlet.manifest import Dependency
from services.common.errors import Conflict
from services.registry.dependencies.resolution import Offered
from services.registry.models import PluginVersion

MAX_PLUGINS = 500


class DependencyRepository:
    """What versions in the catalogue need, within one transaction."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def offered(self, plugin_id: str) -> Offered:
        """What each version of a plugin needs, and of all plugins that any of them leads to.

        Raises Conflict (``dependency_conflict``) when that are more than 500.
        """
        known: dict[str, dict[str, list[Dependency]]] = {}
        wanted = {plugin_id}
        while wanted:
            if len(known) + len(wanted) > MAX_PLUGINS:
                raise Conflict(f"{plugin_id!r} leads to more than {MAX_PLUGINS} plugins.", code="dependency_conflict")
            found = await self._declared(wanted)
            known |= found
            asked = {each.plugin_id for versions in found.values() for needs in versions.values() for each in needs}
            wanted = asked - known.keys() - wanted  # what the catalogue does not have is not asked for again
        return known

    async def _declared(self, plugin_ids: Collection[str]) -> dict[str, dict[str, list[Dependency]]]:
        needs: Any = col(PluginVersion.manifest)["dependencies"]
        statement = select(col(PluginVersion.plugin_id), col(PluginVersion.version), needs)
        found: dict[str, dict[str, list[Dependency]]] = defaultdict(dict)
        for plugin_id, version, document in await self._session.exec(
            statement.where(col(PluginVersion.plugin_id).in_(plugin_ids))
        ):
            found[plugin_id][version] = msgspec.convert(document or [], list[Dependency])
        return dict(found)
