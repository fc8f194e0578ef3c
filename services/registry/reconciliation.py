"""At start: make the topic of installations hold what the database holds.

The outbox guarantees that every change arrives on the topic that was there. This is for a topic that was lost or
restored from an older copy, and for the embedded broker, which is empty at every start of the platform.
"""

import asyncio

import structlog

from services.common.directory import Directory, DirectoryFollower
from services.common.outbox import OutboxRelay
from services.registry.database import Transaction
from services.registry.installations.publication import PublicationLog
from services.registry.installations.repository import InstallationRepository

log = structlog.get_logger(__name__)


async def reconcile(bootstrap: str, transaction: Transaction, relay: OutboxRelay) -> None:
    """Publish what the topic lacks, and retract what it holds too much; done when the broker has it."""
    await _drain(relay)
    published = await _read_topic(bootstrap)
    async with transaction() as session:
        publications = PublicationLog(session)
        revision = await publications.next_revision()  # nothing changes until this is committed
        known = {installation.id: installation.revision for installation in published}
        republished = 0
        for installation, version in await InstallationRepository(session).by_revision():
            if known.pop(str(installation.id), -1) < installation.revision:
                await publications.announce(installation, version)
                republished += 1
        for installation_id in known:
            await publications.retract(installation_id, revision)
    await _drain(relay)
    log.info("topic of installations compared", republished=republished, retracted=len(known))


async def _drain(relay: OutboxRelay) -> None:
    while await relay.publish():
        pass


async def _read_topic(bootstrap: str) -> Directory:
    follower = DirectoryFollower(bootstrap, directory := Directory())
    following = asyncio.create_task(follower.run())
    try:
        await follower.caught_up.wait()
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
    return directory
