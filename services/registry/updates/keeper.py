"""What happens to versions by itself: updates that policies allow, and those that a registry left half done.

Every turn looks at the present state and nothing else, so it makes no difference how often, where and when it runs: an
installation that somebody else is updating is passed over, and one that failed is not tried again.
"""

import asyncio

import structlog

from services.common.errors import OutletError, Unavailable
from services.registry.audit.trail import PLATFORM, Actor
from services.registry.catalogue.schemas import read_manifest
from services.registry.database import Transaction
from services.registry.installations.operations import Operations
from services.registry.installations.repository import Row
from services.registry.models import PluginVersion
from services.registry.updates.candidates import Offered
from services.registry.updates.differences import carried
from services.registry.updates.repository import UpdateRepository
from services.registry.updates.schemas import UpdateState
from services.registry.updates.service import Decision, UpdateService, next_config

log = structlog.get_logger(__name__)

BY_POLICY = Actor("update policy", PLATFORM.role)
PASSING = frozenset(
    {
        "conflict",
        "operation_in_progress",
        "operation_superseded",
        "illegal_transition",
        "installation_not_found",
        "deadline_exceeded",
    }
)
"""Refusals that say only that somebody else was quicker, or that it is not known yet what became of it."""


class UpdateKeeper:
    """Takes its turns until cancelled."""

    def __init__(self, transaction: Transaction, updates: UpdateService, operations: Operations) -> None:
        self._transaction = transaction
        self._updates = updates
        self._operations = operations

    async def run(self, pause: float) -> None:
        """Take a turn, pause for some seconds, and so on; a database or workers that are away delay."""
        while True:
            try:
                await self.turn()
            except Unavailable as error:
                log.warning("updates not looked at, trying again", error=error.detail)
            await asyncio.sleep(pause)

    async def turn(self) -> None:
        """Go on with what was left half done, and begin what is due. Raises Unavailable."""
        async with self._transaction() as session:
            abandoned = await UpdateRepository(session).abandoned(self._operations.marker_lifetime)
        for installation_id in abandoned:
            try:
                await self._updates.resume(installation_id)
            except Unavailable:
                raise
            except OutletError as error:  # it is on the installation
                log.warning("an update ended", installation=str(installation_id), reason=error.detail)
        for decision in await self._due():
            await self._carry_out(*decision)

    async def _due(self) -> list[tuple[Row, PluginVersion]]:
        async with self._transaction() as session:
            updates = UpdateRepository(session)
            found = await Offered(updates).candidates(await updates.behind())
        return [
            (row, chosen.target)
            for row, chosen in found
            if chosen.state is UpdateState.AUTOMATIC and chosen.target is not None
        ]

    async def _carry_out(self, row: Row, target: PluginVersion) -> None:
        """Raises Unavailable."""
        installation, manifest = row[0], read_manifest(target)
        try:
            config = await next_config(row, target)
            await self._updates.carry_out(
                Decision(row, target, carried(installation.grants, manifest), config, BY_POLICY)
            )
        except Unavailable:
            raise
        except OutletError as error:
            log.warning(
                "an update did not come about",
                installation=str(installation.id),
                version=target.version,
                reason=error.detail,
            )
            if error.problem_code in PASSING:
                return
            async with self._transaction() as session:
                await UpdateRepository(session).skip(installation.id, target.version, error.detail)
