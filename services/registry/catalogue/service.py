"""Publishing plugin versions, and finding them."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import anyio.to_thread
import structlog
from sqlmodel.ext.asyncio.session import AsyncSession

from outlet.package import Package
from outlet.signing import Statement
from services.common.auth import Caller
from services.common.errors import Conflict, Forbidden
from services.common.wire import decode_cursor, encode_cursor, invalid_cursor
from services.registry.audit.trail import record
from services.registry.catalogue.checking import manifest_document, open_checked
from services.registry.catalogue.levels import Level
from services.registry.catalogue.names import check_distinct
from services.registry.catalogue.offers import offered
from services.registry.catalogue.repository import CatalogueRepository
from services.registry.catalogue.schemas import CatalogueEntry, CataloguePage, Facets, PublishedVersion
from services.registry.database import Transaction
from services.registry.installations.announcement import announce_version
from services.registry.listings.search import Kind, Match, SearchRepository, Sort, Wanted, words_of
from services.registry.models import Plugin, PluginVersion
from services.registry.packages.storage import PackageStorage, read_package
from services.registry.publisher_keys.service import prove
from services.registry.submissions.checks import Finding, check
from services.registry.submissions.service import check_findings, submit

log = structlog.get_logger(__name__)

NUMBER = re.compile(r"-?\d{1,20}(\.\d{1,20})?", re.ASCII)


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
            if new:
                about, after = {"pluginId": plugin.id}, {"version": version.version, "digest": version.digest}
                await record(session, caller.organization, caller, "plugin.publish", about, after=after)
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

    async def search(self, wanted: Wanted, limit: int, cursor: str | None) -> CataloguePage:
        """One page of the catalogue; the first one with how many plugins there are of each kind."""
        words = None if wanted.search is None else words_of(wanted.search)
        if words == ():
            return CataloguePage(items=[], facets=Facets())  # nothing but marks
        similar, wanted = _position(wanted, cursor)
        async with self._transaction() as session:
            searches = SearchRepository(session)
            await searches.allow_similar()
            how = None
            if words is not None:
                how = Match(words, similar=True) if similar else await searches.choose(wanted, words)
            found = await searches.page(wanted, how, limit + 1)
            facets = None if cursor is not None else _facets(await searches.count(wanted, how), wanted)
            offers = await CatalogueRepository(session).offers([version.plugin_id for _, version, _, _ in found])
        entries = [
            CatalogueEntry.of(
                version,
                offered(offers[plugin.id], own=plugin.publisher_organization == wanted.organization),
                listing,
            )
            for plugin, version, listing, _ in found[:limit]
        ]
        following = None
        if len(found) > limit:
            _, version, _, key = found[limit - 1]
            matched = "words" if how is None or not how.similar else "similar"
            following = encode_cursor(wanted.sort.value, matched, key, version.plugin_id)
        return CataloguePage(items=entries, next_cursor=following, facets=facets)

    async def package(self, digest: str) -> bytes:
        """The bytes of a package. Raises as :func:`services.registry.packages.storage.read_package`."""
        async with self._transaction() as session:
            return await read_package(self._packages, session, digest)


def _position(wanted: Wanted, cursor: str | None) -> tuple[bool, Wanted]:
    """Whether the page before was one of similar names, and where it ended. Raises BadRequest (``invalid_cursor``)."""
    if cursor is None:
        return False, wanted
    sort, matched, key, plugin_id = decode_cursor(cursor, 4)
    if sort != wanted.sort or (sort != Sort.NAME and not NUMBER.fullmatch(key)):
        raise invalid_cursor()
    return matched == "similar", replace(wanted, after=(key, plugin_id))


def _facets(kinds: Sequence[Kind], wanted: Wanted) -> Facets:
    """Each facet counts as if it was not filtered by, and the others were."""
    facets = Facets()
    for category, price, featured, number in kinds:
        of_category, of_price = wanted.category in (None, category), wanted.price in (None, price)
        is_featured = wanted.featured in (None, featured)
        if of_price and is_featured:
            facets.categories[category] = facets.categories.get(category, 0) + number
        if of_category and is_featured:
            facets.prices[price] = facets.prices.get(price, 0) + number
        if of_category and of_price and featured:
            facets.featured += number
    return facets


def check_same(known: PluginVersion, package: Package) -> None:
    """Raises Conflict (``version_exists``) when a version was published with other content."""
    if known.digest != package.digest:
        raise Conflict(
            f"Version {known.version} of {known.plugin_id!r} was published with other content; versions never change.",
            code="version_exists",
            remedy="Raise the version in plugin.toml and publish again.",
        )
