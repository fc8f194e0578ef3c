"""What this registry tells another one that mirrors it."""

from services.common.errors import NotFound
from services.common.wire import Page, decode_cursor, encode_cursor
from services.registry.catalogue.levels import Level
from services.registry.catalogue.repository import CatalogueRepository
from services.registry.database import Transaction
from services.registry.mirror.repository import MirrorRepository
from services.registry.mirror.schemas import MirroredVersion
from services.registry.models import Plugin, PluginVersion
from services.registry.packages.storage import PackageStorage, read_package


class MirrorFeed:
    """The public versions of this registry."""

    def __init__(self, transaction: Transaction, packages: PackageStorage) -> None:
        self._transaction = transaction
        self._packages = packages

    async def find(self, limit: int, cursor: str | None) -> Page[MirroredVersion]:
        """One page, by plugin id and version."""
        after = None
        if cursor is not None:
            plugin_id, version = decode_cursor(cursor, 2)
            after = (plugin_id, version)
        async with self._transaction() as session:
            rows = await MirrorRepository(session).public(after, limit + 1)
        items = [_document(*row) for row in rows[:limit]]
        more = len(rows) > limit
        return Page(items=items, next_cursor=encode_cursor(items[-1].plugin_id, items[-1].version) if more else None)

    async def package(self, plugin_id: str, version: str) -> bytes:
        """The package of a public version. Raises NotFound, or as read_package."""
        async with self._transaction() as session:
            found = await CatalogueRepository(session).version(plugin_id, version)
            if found is None or found.level == Level.PRIVATE:
                raise NotFound(f"The plugin {plugin_id!r} has no version {version!r}.", code="version_not_found")
            return await read_package(self._packages, session, found.digest)


def _document(plugin: Plugin, version: PluginVersion) -> MirroredVersion:
    return MirroredVersion.model_validate(
        {
            **version.model_dump(include=MirroredVersion.model_fields.keys() - {"publisher_organization"}),
            "publisher_organization": plugin.publisher_organization,
        }
    )
