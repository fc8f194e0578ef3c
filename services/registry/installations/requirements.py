"""What plugins need of each other where they are installed."""

from sqlmodel.ext.asyncio.session import AsyncSession

from outlet.manifest import Manifest
from services.common.errors import Conflict
from services.registry.catalogue.schemas import read_manifest
from services.registry.catalogue.versions import satisfies
from services.registry.dependencies.repository import DependencyRepository
from services.registry.installations.lifecycle import Status
from services.registry.installations.repository import InstallationRepository
from services.registry.models import Installation


async def check_dependencies(session: AsyncSession, manifest: Manifest, organization: str, store: str | None) -> None:
    """Raises Conflict (``dependencies_missing``) unless what a plugin needs is installed where it is in effect."""
    if not manifest.dependencies:
        return
    present = await InstallationRepository(session).installed_versions(organization, store)
    missing = [
        {"pluginId": each.plugin_id, "version": each.version, "installed": present.get(each.plugin_id)}
        for each in manifest.dependencies
        if each.plugin_id not in present or not satisfies(present[each.plugin_id], each.version)
    ]
    if missing:  # libraries are not installed
        libraries = await DependencyRepository(session).libraries([each.plugin_id for each in manifest.dependencies])
        missing = [each for each in missing if each["pluginId"] not in libraries]
    if missing:
        names = ", ".join(f"{each['pluginId']} {each['version']}" for each in missing)
        raise Conflict(
            f"The plugin needs other plugins that are not installed here: {names}.",
            code="dependencies_missing",
            remedy="Install them first, or with it: withDependencies.",
            missing=missing,
        )


async def dependants(
    session: AsyncSession, organization: str, plugin_id: str, store: str | None
) -> list[tuple[Installation, str]]:
    """The installations that need the plugin's one for ``store`` (None: for all stores), and the range they accept."""
    found = await InstallationRepository(session).depending_on(organization, plugin_id)
    return [
        (
            installation,
            next(each.version for each in read_manifest(version).dependencies if each.plugin_id == plugin_id),
        )
        for installation, version in found
        if store is None or installation.store_id == store
    ]


async def check_dependants(session: AsyncSession, installation: Installation, version: str) -> None:
    """Raises Conflict (``dependants_refuse``) when others that need an installation do not accept a version of it."""
    found = await dependants(session, installation.organization_id, installation.plugin_id, installation.store_id)
    refusing = [(other, accepted) for other, accepted in found if not satisfies(version, accepted)]
    if refusing:
        names = ", ".join(f"{other.plugin_id} {other.version} ({accepted})" for other, accepted in refusing)
        raise Conflict(
            f"Other plugins need {installation.plugin_id!r} in other versions than {version}: {names}.",
            code="dependants_refuse",
            remedy="Update them first, or choose a version that they accept.",
            dependants=[
                {"installationId": str(other.id), "pluginId": other.plugin_id, "accepts": accepted}
                for other, accepted in refusing
            ],
        )


async def check_not_needed(session: AsyncSession, installation: Installation, *, active_only: bool) -> None:
    """Raises Conflict (``needed_by_others``) when others, or active ones only, need an installation."""
    found = await dependants(session, installation.organization_id, installation.plugin_id, installation.store_id)
    needing = [other for other, _ in found if not active_only or other.status == Status.ACTIVE]
    if needing:
        names = ", ".join(f"{each.plugin_id} {each.version}" for each in needing)
        raise Conflict(
            f"Other plugins need {installation.plugin_id!r}: {names}.",
            code="needed_by_others",
            remedy="Do the same with them first, or ask for it with cascade=true.",
            dependants=[{"installationId": str(each.id), "pluginId": each.plugin_id} for each in needing],
        )
