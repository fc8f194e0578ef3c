"""Which libraries, in which versions, the code of one installation is given."""

from typing import Any

import msgspec
from sqlmodel.ext.asyncio.session import AsyncSession

from outlet._frames import MAX_LIBRARIES
from services.common.directory import Library
from services.common.errors import Conflict
from services.registry.catalogue.repository import CatalogueRepository
from services.registry.catalogue.trust import provenance_of
from services.registry.dependencies.repository import DependencyRepository
from services.registry.dependencies.resolution import resolve
from services.registry.models import PluginVersion


async def resolved_libraries(session: AsyncSession, version: PluginVersion, organization: str) -> list[dict[str, Any]]:
    """The libraries of a version, as :class:`services.common.directory.Library`, one version of each.

    Raises Conflict: ``library_not_installable`` for a library itself, or as :func:`resolve` does.
    """
    if version.manifest["category"] == "library":
        raise Conflict(
            f"{version.plugin_id!r} is a library: it comes with the plugins that import it.",
            code="library_not_installable",
            remedy="Install a plugin that needs it.",
        )
    if not version.manifest.get("dependencies"):
        return []
    needs = await DependencyRepository(session).needs(version.plugin_id, organization)
    chosen = resolve(version.plugin_id, version.version, {}, needs.of_libraries(version.plugin_id))[:-1]
    if len(chosen) > MAX_LIBRARIES:
        raise Conflict(
            f"{version.plugin_id!r} imports more than {MAX_LIBRARIES} libraries.", code="dependency_conflict"
        )
    found = []
    for each in chosen:
        row = await CatalogueRepository(session).version(each.plugin_id, each.version)
        assert row is not None  # noqa: S101  it was chosen from the catalogue, where versions stay
        library = Library(
            plugin_id=row.plugin_id, version=row.version, digest=row.digest, provenance=provenance_of(row)
        )
        found.append(msgspec.to_builtins(library))
    return found
