"""Taking versions back: publishers yank them (no new installation), reviewers revoke them (nothing of them runs)."""

from collections.abc import Callable

import structlog

from services.common.auth import Caller
from services.common.errors import Forbidden, NotFound
from services.common.workers import WorkerSource
from services.registry.audit.trail import record
from services.registry.catalogue.repository import CatalogueRepository
from services.registry.database import Transaction
from services.registry.installations.announcement import announce_version
from services.registry.installations.repository import InstallationRepository
from services.registry.installations.rollout import rollout_of
from services.registry.models import Plugin, PluginVersion
from services.registry.withdrawals.schemas import RevocationDocument, YankDocument

log = structlog.get_logger(__name__)


class WithdrawalService:
    """``announced`` is called when there is something in the outbox. Raises NotFound for versions that are none."""

    def __init__(self, transaction: Transaction, workers: WorkerSource, announced: Callable[[], None]) -> None:
        self._transaction = transaction
        self._workers = workers
        self._announced = announced

    async def yank(self, caller: Caller, plugin_id: str, version_name: str, reason: str | None) -> YankDocument:
        """Take a version out of offer, or with None put it back. Raises Forbidden for another publisher's plugin."""
        async with self._transaction() as session:
            catalogue = CatalogueRepository(session)
            plugin, version = await _lock(catalogue, plugin_id, version_name)
            if plugin.mirrored or plugin.publisher_organization != caller.organization:
                raise Forbidden(
                    f"The plugin {plugin_id!r} belongs to another publisher.", code="plugin_of_another_publisher"
                )
            before = {"yanked": version.yanked_at is not None, "reason": version.yank_reason}
            version.yanked_at = None if reason is None else await InstallationRepository(session).now()
            version.yanked_by = None if reason is None else caller.subject
            version.yank_reason = reason
            await catalogue.refresh_latest(plugin)
            document = YankDocument(
                plugin_id=plugin_id,
                version=version_name,
                yanked_at=version.yanked_at,
                yanked_by=version.yanked_by,
                reason=version.yank_reason,
                latest_version=plugin.latest_version,
            )
            after = {"yanked": reason is not None, "reason": reason}
            about = {"pluginId": plugin_id, "version": version_name}
            await record(session, caller.organization, caller, "version.yank", about, before=before, after=after)
        log.info("version yanked" if reason else "version offered again", plugin=plugin_id, version=version_name)
        return document

    async def revoke(self, caller: Caller, plugin_id: str, version_name: str, reason: str | None) -> RevocationDocument:
        """Stop a version everywhere, or with None let it go on. Every installation of it is announced at once."""
        async with self._transaction() as session:
            catalogue = CatalogueRepository(session)
            plugin, version = await _lock(catalogue, plugin_id, version_name)
            before = {"revoked": version.revoked_at is not None, "reason": version.revocation_reason}
            version.revoked_at = None if reason is None else await InstallationRepository(session).now()
            version.revoked_by = None if reason is None else caller.subject
            version.revocation_reason = reason
            await catalogue.refresh_latest(plugin)
            announced = await announce_version(session, version)
            version.announced_revision = announced.revision
            after = {"revoked": reason is not None, "reason": reason}
            about = {"pluginId": plugin_id, "version": version_name, "installations": announced.installations}
            for organization in sorted({caller.organization, plugin.publisher_organization}):
                await record(session, organization, caller, "version.revoke", about, before=before, after=after)
        self._announced()
        what = "version revoked" if reason else "revocation lifted"
        log.warning(
            what,
            plugin=plugin_id,
            version=version_name,
            by=caller.subject,
            reason=reason,
            installations=announced.installations,
        )
        return await self._document(version, announced.installations)

    async def revocation(self, plugin_id: str, version_name: str) -> RevocationDocument:
        """Whether a version is revoked, and on how many workers that is live."""
        async with self._transaction() as session:
            version = await CatalogueRepository(session).version(plugin_id, version_name)
            if version is None:
                raise _unknown(plugin_id, version_name)
            installations = await InstallationRepository(session).count_version(plugin_id, version_name)
        return await self._document(version, installations)

    async def _document(self, version: PluginVersion, installations: int) -> RevocationDocument:
        return RevocationDocument(
            plugin_id=version.plugin_id,
            version=version.version,
            revoked_at=version.revoked_at,
            revoked_by=version.revoked_by,
            reason=version.revocation_reason,
            installations=installations,
            rollout=await rollout_of(self._workers, version.announced_revision),
        )


async def _lock(catalogue: CatalogueRepository, plugin_id: str, version_name: str) -> tuple[Plugin, PluginVersion]:
    plugin = await catalogue.lock(plugin_id)
    version = await catalogue.version(plugin_id, version_name)
    if plugin is None or version is None:
        raise _unknown(plugin_id, version_name)
    return plugin, version


def _unknown(plugin_id: str, version: str) -> NotFound:
    return NotFound(f"The plugin {plugin_id!r} has no version {version!r}.", code="version_not_found")
