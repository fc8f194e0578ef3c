"""SQL of what plugins need."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import ColumnElement
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from outlet.manifest import Dependency
from services.common.errors import Conflict
from services.registry.catalogue.levels import Level
from services.registry.dependencies.resolution import Offered
from services.registry.models import Plugin, PluginVersion

MAX_PLUGINS = 500


@dataclass(frozen=True, slots=True)
class Needs:
    """What versions in the catalogue need of each other, and which plugins are libraries."""

    declared: Offered
    libraries: frozenset[str]

    def of_plugins(self) -> Offered:
        """Without libraries, which are not installed."""
        return {
            plugin_id: {version: self._without(needs) for version, needs in versions.items()}
            for plugin_id, versions in self.declared.items()
            if plugin_id not in self.libraries
        }

    def of_libraries(self, plugin_id: str) -> Offered:
        """The libraries that a plugin imports, and those that they do."""
        own = {
            version: [each for each in needs if each.plugin_id in self.libraries]
            for version, needs in self.declared.get(plugin_id, {}).items()
        }
        return {each: self.declared[each] for each in self.libraries} | {plugin_id: own}

    def _without(self, needs: Sequence[Dependency]) -> list[Dependency]:
        return [each for each in needs if each.plugin_id not in self.libraries]


def on_offer(organization: str) -> tuple[ColumnElement[bool], ...]:
    """What an organization can install: see :mod:`services.registry.catalogue.offers`."""
    own = select(col(Plugin.id)).where(
        col(Plugin.publisher_organization) == organization, col(Plugin.mirrored).is_(False)
    )
    return (
        col(PluginVersion.yanked_at).is_(None),
        col(PluginVersion.revoked_at).is_(None),
        (col(PluginVersion.level) != Level.PRIVATE) | col(PluginVersion.plugin_id).in_(own),
    )


class DependencyRepository:
    """What versions in the catalogue need, within one transaction."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def needs(self, plugin_id: str, organization: str) -> Needs:
        """What each version of a plugin needs, and of all plugins that any of them leads to.

        Raises Conflict (``dependency_conflict``) when that are more than 500.
        """
        known: dict[str, dict[str, list[Dependency]]] = {}
        wanted = {plugin_id}
        while wanted:
            if len(known) + len(wanted) > MAX_PLUGINS:
                raise Conflict(f"{plugin_id!r} leads to more than {MAX_PLUGINS} plugins.", code="dependency_conflict")
            found = await self._declared(wanted, organization)
            known |= found
            asked = {each.plugin_id for versions in found.values() for needs in versions.values() for each in needs}
            wanted = asked - known.keys() - wanted  # what the catalogue does not have is not asked for again
        return Needs(known, await self.libraries(known))

    async def libraries(self, plugin_ids: Collection[str]) -> frozenset[str]:
        """Those that are libraries: none of their versions is installed by itself."""
        category: Any = col(PluginVersion.manifest)["category"].astext
        statement = select(col(PluginVersion.plugin_id)).distinct()
        own = col(PluginVersion.plugin_id).in_(plugin_ids)
        return frozenset((await self._session.exec(statement.where(own, category == "library"))).all())

    async def _declared(self, plugin_ids: Collection[str], organization: str) -> dict[str, dict[str, list[Dependency]]]:
        needs: Any = col(PluginVersion.manifest)["dependencies"]
        statement = select(col(PluginVersion.plugin_id), col(PluginVersion.version), needs)
        found: dict[str, dict[str, list[Dependency]]] = defaultdict(dict)
        for plugin_id, version, document in await self._session.exec(
            statement.where(col(PluginVersion.plugin_id).in_(plugin_ids), *on_offer(organization))
        ):
            found[plugin_id][version] = msgspec.convert(document or [], list[Dependency])
        return dict(found)
