"""Announcing all installations of a version at once, when what is known of the version has changed."""

from dataclasses import dataclass

from sqlmodel.ext.asyncio.session import AsyncSession

from services.registry.installations.publication import PublicationLog
from services.registry.installations.repository import InstallationRepository
from services.registry.models import PluginVersion


@dataclass(frozen=True, slots=True)
class Announced:
    """How many installations were announced, and the last revision: who has followed it knows of all of them."""

    installations: int
    revision: int


async def announce_version(session: AsyncSession, version: PluginVersion) -> Announced:
    """Announce every installation of a version, or that imports it, as it is now, of all organizations."""
    publications, installations = PublicationLog(session), InstallationRepository(session)
    await publications.hold()
    rows = await installations.lock_version(version.plugin_id, version.version)
    if not rows:
        return Announced(0, 0)
    last = await publications.next_revision(len(rows))
    for revision, (installation, own) in enumerate(rows, start=last - len(rows) + 1):
        installation.revision = revision
        await publications.announce(installation, own)
    return Announced(len(rows), last)
