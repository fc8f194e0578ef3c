"""Takes over what plugins change of their own settings: each change once, the last one of a setting wins."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import structlog
from aiokafka import ConsumerRecord
from sqlmodel.ext.asyncio.session import AsyncSession

from outlet.manifest import Manifest
from services.common.directory import Variant
from services.common.errors import Unprocessable
from services.common.setting_changes import SettingChange, decode_change
from services.common.topics import CONFIGURATION
from services.registry.catalogue.schemas import read_manifest
from services.registry.configuration import complete_config
from services.registry.database import Transaction
from services.registry.following import follow
from services.registry.installations.publication import PublicationLog
from services.registry.installations.repository import InstallationRepository, Row
from services.registry.models import InstallationError
from services.registry.scopes.resolution import check_variants
from services.registry.scopes.variants import read_variants
from services.registry.setting_changes.repository import AppliedChanges

log = structlog.get_logger(__name__)

GROUP = "outlet.registry.configuration"


class SettingChangeConsumer:
    """Follows ``outlet.configuration``. ``announced`` is called when there is something in the outbox."""

    def __init__(self, bootstrap: str, transaction: Transaction, announced: Callable[[], None]) -> None:
        self._bootstrap = bootstrap
        self._transaction = transaction
        self._announced = announced

    async def run(self) -> None:
        """Follow until cancelled; a database or broker that is away delays."""
        await follow(self._bootstrap, CONFIGURATION, GROUP, self.apply)

    async def apply(self, records: "Sequence[ConsumerRecord[bytes, bytes]]") -> None:
        """Take over what is new in a batch, one transaction for each installation."""
        changes: dict[UUID, dict[str, SettingChange]] = defaultdict(dict)
        for record in records:
            if (read := _read(record)) is not None:
                changes[read[0]].setdefault(read[1].id, read[1])
        for installation_id, found in changes.items():
            while not await self._take_over(installation_id, list(found.values())):
                log.info("installation changed meanwhile, looking again", installation=str(installation_id))
        self._announced()

    async def _take_over(self, installation_id: UUID, changes: list[SettingChange]) -> bool:
        """False when the installation changed between the check, during which nothing is locked, and the writing."""
        async with self._transaction() as session:
            read = await InstallationRepository(session).get(installation_id)
            known = await AppliedChanges(session).known(installation_id, [change.id for change in changes])
            variants = () if read is None else await read_variants(session, read[0], read_manifest(read[1]))
        new = [change for change in changes if change.id not in known]
        if read is None or not new:
            return True  # uninstalled meanwhile, or redelivered
        config, refused = await _changed(read[0].config, read_manifest(read[1]), variants, new)
        async with self._transaction() as session:
            revision = await PublicationLog(session).next_revision()
            present = await InstallationRepository(session).lock(installation_id)
            if present is None:
                return True
            if present[0].revision != read[0].revision:
                return False
            # Whoever decided on one of them meanwhile published a revision, or refused all that could be refused.
            if await AppliedChanges(session).known(installation_id, [change.id for change in new]):
                return False
            await AppliedChanges(session).add(installation_id, [change.id for change in new])
            for error in refused:
                await InstallationRepository(session).record(error)
            if len(refused) < len(new):
                await _publish(session, present, config, revision)
        return True


async def _publish(session: AsyncSession, row: Row, config: dict[str, Any], revision: int) -> None:
    installation, version = row
    installation.config, installation.revision = config, revision
    await PublicationLog(session).announce(installation, version)


async def _changed(
    config: dict[str, Any], manifest: Manifest, variants: tuple[Variant, ...], changes: list[SettingChange]
) -> tuple[dict[str, Any], list[InstallationError]]:
    """The configuration with those changes that it allows by now, and why the others are refused."""
    refused = []
    for change in changes:
        try:
            changed = await _with(config, manifest, change)
            await check_variants(changed, manifest, variants)
            config = changed
        except Unprocessable as error:
            refused.append(_refusal(change, error))
    return config, refused


async def _with(config: dict[str, Any], manifest: Manifest, change: SettingChange) -> dict[str, Any]:
    """Raises Unprocessable."""
    secrets = manifest.secret_settings()
    if change.key in secrets:
        raise Unprocessable("A plugin cannot set a secret.", errors=[])
    sealed = [name for name in secrets if name in config]
    wanted = {**config, change.key: change.value}
    return await complete_config(wanted, manifest.settings_schema, secrets=secrets, sealed=sealed)


def _refusal(change: SettingChange, error: Unprocessable) -> InstallationError:
    log.warning("a plugin's change is refused", installation=change.installation_id, setting=change.key)
    return InstallationError(
        installation_id=UUID(change.installation_id),
        source="plugin",
        code="invalid_config",
        message=f"set_config({change.key!r}, ...) was not taken over. {error.detail} {error.members['errors']}",
        stack="",
        during=change.during,
    )


def _read(record: "ConsumerRecord[bytes, bytes]") -> tuple[UUID, SettingChange] | None:
    try:
        change = decode_change(record.value or b"")
        return UUID(change.installation_id), change
    except ValueError as error:  # msgspec's are too
        log.error(
            "a change of settings cannot be read", partition=record.partition, offset=record.offset, error=str(error)
        )
        return None
