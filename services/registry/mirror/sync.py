"""Keeps the public versions of another registry here: verified by this one, and withdrawn when they are there.

The other registry is believed in one thing alone: that it withdraws versions, or offers them again. What runs here was
signed by a publisher whose key the operator has pinned.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime

import anyio.to_thread
import structlog
from sqlmodel.ext.asyncio.session import AsyncSession

from outlet.package import Package
from outlet.signing import PublicKey, SignatureError, Statement, verify
from services.common.errors import OutletError
from services.registry.catalogue.checking import manifest_document, open_checked
from services.registry.catalogue.names import check_distinct
from services.registry.catalogue.repository import CatalogueRepository
from services.registry.database import Transaction
from services.registry.installations.announcement import announce_version
from services.registry.installations.repository import InstallationRepository
from services.registry.mirror.repository import MirrorRepository
from services.registry.mirror.schemas import MirroredVersion
from services.registry.mirror.upstream import Upstream, UpstreamUnavailable
from services.registry.models import Plugin, PluginVersion
from services.registry.packages.storage import PackageStorage

log = structlog.get_logger(__name__)

UPSTREAM = "upstream"
"""Who withdrew a version, when it was the other registry: only what it withdrew is offered again on its word."""
GONE = "no longer offered by the upstream registry"


class Refused(Exception):
    """A version of the other registry that does not come here; the message says why."""


class Mirror:
    """``pinned`` are the ids of the keys whose signatures count; ``announced`` is called when something was."""

    def __init__(
        self,
        transaction: Transaction,
        packages: PackageStorage,
        upstream: Upstream,
        pinned: frozenset[str],
        announced: Callable[[], None],
    ) -> None:
        self._transaction = transaction
        self._packages = packages
        self._upstream = upstream
        self._pinned = pinned
        self._announced = announced

    async def run(self, seconds: float) -> None:
        """Synchronize every so many seconds until cancelled. Another registry that is away changes nothing here."""
        while True:
            try:
                await self.synchronize()
            except (UpstreamUnavailable, OutletError) as error:
                log.warning("upstream registry not mirrored, trying again", error=str(error))
            await asyncio.sleep(seconds)

    async def synchronize(self) -> None:
        """Take over what has changed since the last time."""
        seen: set[tuple[str, str]] = set()
        async for told in self._upstream.versions():
            try:
                await self._take_over(told)
                seen.add((told.plugin_id, told.version))
            except Refused as refusal:
                log.error("version not mirrored", plugin=told.plugin_id, version=told.version, reason=str(refusal))
        await self._withdraw_missing(seen)

    async def _take_over(self, told: MirroredVersion) -> None:
        key = self._verified_key(told)
        async with self._transaction() as session:
            known = await CatalogueRepository(session).version(told.plugin_id, told.version)
        package = None
        if known is None:
            if told.revocation_reason is not None:
                return  # nobody here has it, and nobody is to get it
            package = await self._package(told)
        async with self._transaction() as session:
            await self._keep(session, told, key, package)
        self._announced()

    def _verified_key(self, told: MirroredVersion) -> PublicKey:
        try:
            key = PublicKey.read(told.public_key)
            if key.id not in self._pinned:
                raise Refused(f"it is signed by a key that is not pinned: {key.id}")
            verify(told.signature, key, _statement(told))
        except SignatureError as error:
            raise Refused(str(error)) from error
        return key

    async def _package(self, told: MirroredVersion) -> Package:
        data = await self._upstream.package(told.plugin_id, told.version)
        try:
            package = await anyio.to_thread.run_sync(open_checked, data)
        except OutletError as error:
            raise Refused(error.detail) from error
        if Statement.of(package) != _statement(told):
            raise Refused("its package is not the one that was signed")
        return package

    async def _keep(
        self, session: AsyncSession, told: MirroredVersion, key: PublicKey, package: Package | None
    ) -> None:
        catalogue = CatalogueRepository(session)
        plugin, unheard_of = await catalogue.claim(told.plugin_id, told.publisher_organization, mirrored=True)
        if not plugin.mirrored:
            raise Refused("a publisher of this platform has a plugin of this id")
        if unheard_of:
            await _check_name(catalogue, plugin)
        version = await catalogue.version(told.plugin_id, told.version)
        if version is None:
            if package is None:
                return  # it was there a moment ago: at the next turn
            version = PluginVersion(
                plugin_id=told.plugin_id,
                version=told.version,
                digest=told.digest,
                manifest=manifest_document(package.manifest),
                published_by=UPSTREAM,
                signature=told.signature,
                public_key=key.document(),
            )
            await catalogue.add(version)
            await self._packages.write(session, told.digest, package.data)
            log.info("version mirrored", plugin=told.plugin_id, version=told.version, digest=told.digest)
        elif version.digest != told.digest:
            raise Refused(f"it is known with the digest {version.digest}: versions never change")
        version.level = told.level
        now = await InstallationRepository(session).now()
        follow_yank(version, told.yank_reason, now)
        if follow_revocation(version, told.revocation_reason, now):
            announced = await announce_version(session, version)
            version.announced_revision = announced.revision
        await catalogue.refresh_latest(plugin)

    async def _withdraw_missing(self, seen: set[tuple[str, str]]) -> None:
        async with self._transaction() as session:
            missing = sorted(set(await MirrorRepository(session).mirrored()) - seen)
        for plugin_id, version_name in missing:
            async with self._transaction() as session:
                catalogue = CatalogueRepository(session)
                plugin = await catalogue.lock(plugin_id)
                version = await catalogue.version(plugin_id, version_name)
                if plugin is None or version is None:
                    continue
                follow_yank(version, GONE, await InstallationRepository(session).now())
                await catalogue.refresh_latest(plugin)
            log.warning("version withdrawn", plugin=plugin_id, version=version_name, reason=GONE)


def follow_yank(version: PluginVersion, reason: str | None, now: datetime) -> None:
    """Yank a version, or offer it again when it was upstream that yanked it."""
    if reason is not None and version.yanked_at is None:
        version.yanked_at, version.yanked_by, version.yank_reason = now, UPSTREAM, reason
    elif reason is None and version.yanked_by == UPSTREAM:
        version.yanked_at = version.yanked_by = version.yank_reason = None


def follow_revocation(version: PluginVersion, reason: str | None, now: datetime) -> bool:
    """Revoke a version, or lift that when it was upstream that revoked it; whether anything changed."""
    if reason is not None and version.revoked_at is None:
        version.revoked_at, version.revoked_by, version.revocation_reason = now, UPSTREAM, reason
        return True
    if reason is None and version.revoked_by == UPSTREAM:
        version.revoked_at = version.revoked_by = version.revocation_reason = None
        return True
    return False


def _statement(told: MirroredVersion) -> Statement:
    return Statement(plugin_id=told.plugin_id, version=told.version, digest=told.digest)


async def _check_name(catalogue: CatalogueRepository, plugin: Plugin) -> None:
    try:
        check_distinct(plugin.id, await catalogue.verified_ids_of_others(plugin.publisher_organization))
    except OutletError as error:
        raise Refused(error.detail) from error
