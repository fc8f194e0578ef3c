"""Announcing installations: every change of state leaves through the outbox, in the order in which it was decided."""

from uuid import UUID

import msgspec
from sqlalchemy import insert, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from outlet.manifest import Manifest
from services.common import directory
from services.common.events import DomainEvent
from services.common.topics import INSTALLATIONS, topic_of
from services.registry.catalogue.schemas import read_manifest
from services.registry.catalogue.trust import provenance_of, revocation_reason
from services.registry.models import Installation, PluginVersion, Publication, outbox
from services.registry.scopes.variants import read_variants


def _snapshot(
    installation: Installation, version: PluginVersion, manifest: Manifest, variants: tuple[directory.Variant, ...]
) -> directory.Installation:
    return directory.Installation(
        id=str(installation.id),
        revision=installation.revision,
        plugin_id=installation.plugin_id,
        version=installation.version,
        digest=version.digest,
        organization_id=installation.organization_id,
        store_id=installation.store_id,
        status=msgspec.convert(installation.status, directory.Status),
        config=installation.config,
        grants=tuple(installation.grants),
        manifest=manifest,
        breaker=breaker_of(installation),
        backlog=msgspec.convert(installation.backlog, directory.Backlog),
        libraries=msgspec.convert(installation.libraries, tuple[directory.Library, ...]),
        updating=installation.updating,
        provenance=provenance_of(version),
        variants=variants,
    )


def _stopped(present: directory.Installation, reason: str) -> directory.Installation:
    """An installation of a revoked version: nothing of it runs, and its events are kept as those of a paused plugin."""
    kept = present.status == "active" or present.held or present.backlog != "none"
    return msgspec.structs.replace(
        present,
        revoked=reason,
        status="error" if present.status == "active" else present.status,
        breaker=directory.CLOSED,
        backlog="pause" if kept else "none",
    )


def breaker_of(installation: Installation) -> directory.Breaker:
    """The circuit breaker of an installation; closed when it never opened."""
    breaker = installation.breaker
    return directory.CLOSED if breaker is None else msgspec.convert(breaker, directory.Breaker)


class PublicationLog:
    """What the transaction announces."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def next_revision(self, count: int = 1) -> int:
        """The revision of the change that this transaction makes; the last of ``count`` that follow each other.

        Changes wait here for each other until the transaction ends, so call it before any installation is locked.
        """
        statement = update(Publication).values(revision=col(Publication.revision) + count)
        return int((await self._session.exec(statement.returning(col(Publication.revision)))).scalar_one())

    async def hold(self) -> None:
        """Let nothing else change until the transaction ends, whether or not it will change something itself."""
        await self._session.exec(select(Publication).with_for_update())

    async def snapshot(self, installation: Installation, version: PluginVersion) -> directory.Installation:
        """The present state of an installation as the other services know it."""
        manifest = read_manifest(version)
        variants = await read_variants(self._session, installation, manifest)
        present = _snapshot(installation, version, manifest, variants)
        reason = await revocation_reason(self._session, installation, version)
        return present if reason is None else _stopped(present, reason)

    async def announce(self, installation: Installation, version: PluginVersion) -> None:
        """Publish the state that the installation has now."""
        value = directory.encode_installation(await self.snapshot(installation, version))
        await self._put(installation.id, value, installation.revision)

    async def retract(self, installation_id: UUID | str, revision: int) -> None:
        """Publish that there is no such installation any more."""
        await self._put(installation_id, None, revision)

    async def publish(self, event: DomainEvent, entity_id: str) -> None:
        """Publish that something has happened."""
        row = {
            "topic": topic_of(event.type),
            "key": event.record_key(entity_id),
            "value": event.data,
            "headers": {name: value.decode() for name, value in event.headers()},
        }
        await self._session.exec(insert(outbox).values(row))

    async def _put(self, installation_id: UUID | str, value: bytes | None, revision: int) -> None:
        row = {
            "topic": INSTALLATIONS.name,
            "key": str(installation_id),
            "value": value,
            "headers": {directory.REVISION_HEADER: str(revision)},
        }
        await self._session.exec(insert(outbox).values(row))
