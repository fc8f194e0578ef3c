"""Publishing plugin versions, and finding them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import anyio.to_thread
import structlog
from sqlmodel.ext.asyncio.session import AsyncSession

from outlet.package import Package
from outlet.signing import Statement
from services.common.auth import Caller
from services.common.errors import Conflict, Forbidden
from services.common.wire import Page, decode_cursor, encode_cursor
from services.registry.catalogue.checking import manifest_document, open_checked
from services.registry.catalogue.levels import Level
from services.registry.catalogue.names import check_distinct
from services.registry.catalogue.offers import offered
from services.registry.catalogue.repository import CatalogueFilter, CatalogueRepository
from services.registry.catalogue.schemas import CatalogueEntry, PublishedVersion
from services.registry.database import Transaction
from services.registry.installations.announcement import announce_version
from services.registry.models import Plugin, PluginVersion
from services.registry.packages.storage import PackageStorage, read_package
from services.registry.publisher_keys.service import prove
from services.registry.submissions.checks import Finding, check
from services.registry.submissions.service import check_findings, submit

log = structlog.get_logger(__name__)


class CatalogueService:
    """The catalogue of one platform, shared by all organizations."""

    def __init__(
        self,
        transaction: Transaction,
        packages: PackageStorage,
        announced: Callable[[], None],
        *,
        automatic: bool,
    ) -> None:
        self._transaction = transaction
        self._packages = packages
        self._automatic = automatic
        self._announced = announced

    async def publish(
        self, caller: Caller, data: bytes, signature: str | None, level: Level
    ) -> tuple[PublishedVersion, bool]:
        """Keep a signed package as a new version; False when this very package was published before.

        With ``level`` COMMUNITY it is submitted to be offered to everyone. One that was published before there were
        signatures is given this one.

        Raises Unprocessable (``invalid_package``, ``checks_failed``, or as :func:`prove`), Conflict
        (``version_exists``, ``plugin_id_confusing``), or Forbidden (``plugin_of_another_publisher``).
        """
        package = await anyio.to_thread.run_sync(open_checked, data)
        findings: list[Finding] = []
        if level is not Level.PRIVATE:
            findings = await anyio.to_thread.run_sync(check, package)
        async with self._transaction() as session:
            catalogue = CatalogueRepository(session)
            plugin, version, new = await self._add(session, caller, package, signature)
            if level is not Level.PRIVATE:
                check_findings(findings)
                await submit(session, caller, version, findings, automatic=self._automatic)
            await catalogue.refresh_latest(plugin)
        self._announced()
        if new:
            log.info("plugin published", plugin_id=version.plugin_id, version=version.version, digest=version.digest)
        return PublishedVersion.of(version), new

    async def _add(
        self, session: AsyncSession, caller: Caller, package: Package, signature: str | None
    ) -> tuple[Plugin, PluginVersion, bool]:
        manifest = package.manifest
        catalogue = CatalogueRepository(session)
        plugin, unheard_of = await catalogue.claim(manifest.plugin_id, caller.organization)
        if plugin.mirrored or plugin.publisher_organization != caller.organization:
            raise Forbidden(
                f"The plugin {manifest.plugin_id!r} belongs to another publisher.",
                code="plugin_of_another_publisher",
                remedy="Choose another plugin id.",
            )
        provenance = await prove(session, caller.organization, signature, Statement.of(package))
        signed: dict[str, Any] = {
            "signature": provenance.signature,
            "public_key": provenance.public_key.document(),
        }
        known = await catalogue.version(manifest.plugin_id, manifest.version)
        if known is not None:
            check_same(known, package)
            if known.signature is None:
                known.sqlmodel_update(signed)
                await announce_version(session, known)
            return plugin, known, False
        if unheard_of:
            check_distinct(manifest.plugin_id, await catalogue.verified_ids_of_others(caller.organization))
        version = PluginVersion(
            plugin_id=manifest.plugin_id,
            version=manifest.version,
            digest=package.digest,
            manifest=manifest_document(manifest),
            published_by=caller.subject,
            **signed,
        )
        await catalogue.add(version)
        await self._packages.write(session, package.digest, package.data)
        return plugin, version, True

    async def search(self, wanted: CatalogueFilter, limit: int, cursor: str | None) -> Page[CatalogueEntry]:
        """One page of the catalogue, by plugin id."""
        if cursor is not None:
            wanted = replace(wanted, after=decode_cursor(cursor, 1)[0])
        async with self._transaction() as session:
            catalogue = CatalogueRepository(session)
            found = await catalogue.search(wanted, limit + 1)
            offers = await catalogue.offers([plugin.id for plugin, _ in found])
        entries = [
            CatalogueEntry.of(
                version, offered(offers[plugin.id], own=plugin.publisher_organization == wanted.organization)
            )
            for plugin, version in found[:limit]
        ]
        more = len(found) > limit
        return Page(items=entries, next_cursor=encode_cursor(entries[-1].plugin_id) if more else None)

    async def package(self, digest: str) -> bytes:
        """The bytes of a package. Raises as :func:`services.registry.packages.storage.read_package`."""
        async with self._transaction() as session:
            return await read_package(self._packages, session, digest)


def check_same(known: PluginVersion, package: Package) -> None:
    """Raises Conflict (``version_exists``) when a version was published with other content."""
    if known.digest != package.digest:
        raise Conflict(
            f"Version {known.version} of {known.plugin_id!r} was published with other content; versions never change.",
            code="version_exists",
            remedy="Raise the version in plugin.toml and publish again.",
        )
