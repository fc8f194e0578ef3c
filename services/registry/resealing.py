"""At start: seal with the present key what is stored in clear, or sealed with a former one."""

from collections.abc import Collection
from typing import Any

import structlog

from services.common.secret_settings import SecretKeys, SecretUnreadable
from services.registry.bulk.asking import reseal_config
from services.registry.bulk.repository import BulkRepository
from services.registry.catalogue.schemas import read_manifest
from services.registry.database import Transaction
from services.registry.installations.publication import PublicationLog
from services.registry.installations.repository import InstallationRepository
from services.registry.models import Installation
from services.registry.scopes.models import InstallationOverride
from services.registry.scopes.repository import ScopeRepository
from services.registry.secret_settings import place_of
from services.registry.updates.repository import UpdateRepository

log = structlog.get_logger(__name__)


async def reseal(transaction: Transaction, keys: SecretKeys) -> None:
    """Seal with the first key whatever is stored unsealed or sealed with another one, and publish it.

    What no key opens stays as it is, and is logged: requests that need it are refused until it is set again.
    """
    changed = 0
    async with transaction() as session:
        publications = PublicationLog(session)
        await publications.next_revision()  # nothing changes until this is committed
        for installation, version in await InstallationRepository(session).by_revision():
            secrets = read_manifest(version).secret_settings()
            stored: list[Installation | InstallationOverride] = [
                installation,
                *await ScopeRepository(session).overrides(installation.id),
            ]
            resealed = [(each, _resealed(each.config, installation, secrets, keys)) for each in stored]
            if any(each.config != config for each, config in resealed):
                for each, config in resealed:
                    each.config = config
                await session.flush()
                installation.revision = await publications.next_revision()
                await publications.announce(installation, version)
                changed += 1
        for row, installation, version in await UpdateRepository(session).kept():
            row.config = _resealed(row.config, installation, read_manifest(version).secret_settings(), keys)
        for job in await BulkRepository(session).with_config():
            try:
                reseal_config(job, keys)
            except SecretUnreadable as error:
                log.error("a bulk job's configuration cannot be read", job=str(job.id), reason=str(error))
    log.info("secret settings looked through", resealed=changed)


def _resealed(
    config: dict[str, Any], installation: Installation, secrets: Collection[str], keys: SecretKeys
) -> dict[str, Any]:
    present = dict(config)
    for name in secrets:
        stored = present.get(name)
        try:
            if isinstance(stored, str):
                present[name] = keys.seal(stored, place_of(installation, name))
            elif name in present and not keys.is_current(stored):
                place = place_of(installation, name)
                present[name] = keys.seal(keys.open(stored, place), place)
        except SecretUnreadable as error:
            log.error("a secret cannot be read", installation=str(installation.id), setting=name, reason=str(error))
    return present
