"""What a store has of a plugin, and whether that is what a job asks for."""

from dataclasses import dataclass

from sqlmodel.ext.asyncio.session import AsyncSession

from services.common.errors import Conflict, NotFound
from services.registry.bulk.asking import options_of
from services.registry.bulk.models import BulkJob
from services.registry.installations.lifecycle import Status
from services.registry.installations.repository import InstallationFilter, InstallationRepository, Row
from services.registry.models import Installation


@dataclass(frozen=True, slots=True)
class Reached:
    """Nothing is to be done: why."""

    code: str
    detail: str


async def present(session: AsyncSession, job: BulkJob, store: str) -> Row | None:
    """The installation that is in effect in a store: its own, or the organization's."""
    wanted = InstallationFilter(organization=job.organization_id, plugin_id=job.plugin_id, store=store)
    rows = await InstallationRepository(session).find(wanted, 1)
    return rows[0] if rows else None


def reached(job: BulkJob, row: Row | None, from_version: str | None) -> Reached | None:
    """Whether a store is as the job wants it; None: it is not, or something is under way there.

    ``from_version`` is what the store had before the first attempt; None: this is the first. Raises NotFound
    (``not_installed``) or Conflict (``organization_installation``) when it never can be.
    """
    if row is None:
        return _without(job)
    installation = row[0]
    if job.action == "install":
        return _installed(job, installation)
    if installation.store_id is None:
        raise Conflict(
            f"The plugin {job.plugin_id!r} is installed for the whole organization, not for this store.",
            code="organization_installation",
            remedy="Do it with that installation, or override settings for the store.",
        )
    if installation.operation_id is not None:
        return None
    return _as_wanted(job, installation, from_version)


def is_installed(job: BulkJob, installation: Installation) -> bool:
    """Whether a store has the version that a job installs."""
    settled = installation.installed_at is not None and installation.status != Status.UNINSTALLING
    return settled and installation.store_id is not None and installation.version == job.version


def _without(job: BulkJob) -> Reached | None:
    if job.action == "uninstall":
        return Reached("not_installed", "The plugin is not installed here.")
    if job.action == "install":
        return None
    raise NotFound(f"The plugin {job.plugin_id!r} is not installed here.", code="not_installed")


def _installed(job: BulkJob, installation: Installation) -> Reached | None:
    active = installation.status == Status.ACTIVE and installation.operation_id is None
    if is_installed(job, installation) and (active or not options_of(job).activate):
        return Reached("already_installed", f"Version {job.version} is installed here.")
    return None


def _as_wanted(job: BulkJob, installation: Installation, from_version: str | None) -> Reached | None:
    has = f"It has version {installation.version}."
    match job.action:
        case "activate" if installation.status == Status.ACTIVE:
            return Reached("already_active", "It is active.")
        case "deactivate" if installation.status == Status.INACTIVE:
            return Reached("already_inactive", "It is inactive.")
        case "update" if installation.version == job.version:
            return Reached("already_updated", has)
        case "rollback" if from_version is not None and installation.version != from_version:
            return Reached("already_rolled_back", has)
        case "rollback" if job.version not in (None, installation.version):
            return Reached("other_version", has)
    return None
