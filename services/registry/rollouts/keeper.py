"""Brings roll-outs forward: updates the stores of a stage, watches them, and goes on or takes all of them back.

Every turn looks at what is there: which version each store has, what its hooks did since. So it makes no difference
which registry takes the turn, and one that died is no more than a turn that was not taken.
"""

import asyncio
from collections.abc import Sequence
from uuid import UUID

import structlog

from services.common.errors import Conflict, OutletError, Unavailable
from services.registry.audit.trail import PLATFORM, Actor
from services.registry.catalogue.repository import CatalogueRepository
from services.registry.catalogue.schemas import read_manifest
from services.registry.database import Transaction
from services.registry.installations.publication import PublicationLog
from services.registry.installations.repository import InstallationRepository
from services.registry.rollouts.models import Rollout, RolloutMember
from services.registry.rollouts.progress import breach, figures, next_step, stage_of
from services.registry.rollouts.repository import Member, RolloutRepository
from services.registry.updates.differences import beyond, carried
from services.registry.updates.keeper import PASSING
from services.registry.updates.repository import UpdateRepository
from services.registry.updates.service import Decision, UpdateService, next_config

log = structlog.get_logger(__name__)


class RolloutKeeper:
    """Takes its turns until cancelled."""

    def __init__(self, transaction: Transaction, updates: UpdateService) -> None:
        self._transaction = transaction
        self._updates = updates

    async def run(self, pause: float) -> None:
        """Take a turn, pause for some seconds, and so on; a database or workers that are away delay."""
        while True:
            try:
                await self.turn()
            except Unavailable as error:
                log.warning("roll-outs not looked at, trying again", error=error.detail)
            await asyncio.sleep(pause)

    async def turn(self) -> None:
        """Bring each one forward by what can be done now. Raises Unavailable."""
        async with self._transaction() as session:
            ongoing = await RolloutRepository(session).ongoing()
        for rollout_id in ongoing:
            await self._advance(rollout_id)

    async def _advance(self, rollout_id: UUID) -> None:
        async with self._transaction() as session:
            rollouts = RolloutRepository(session)
            rollout = await rollouts.lock(rollout_id)
            if rollout is None:
                return
            members = await rollouts.members(rollout_id)
            step, why = next_step(rollout, members, await InstallationRepository(session).now())
            if step == "next-stage":
                rollout.stage += 1
            if step == "complete":
                rollout.state, why = "completed", None
            if step == "roll-back":
                rollout.state = "rolling-back"
            if rollout.reason != why:
                rollout.reason = why
                log.info("roll-out", rollout=str(rollout_id), state=rollout.state, stage=rollout.stage, reason=why)
        if step == "update":
            await self._update(rollout, members)
        if step == "roll-back":
            await self._roll_back(rollout, members)

    async def _update(self, rollout: Rollout, members: Sequence[Member]) -> None:
        """Update the stores of the stage, one after the other, for as long as the budget lasts."""
        for member, installation in stage_of(rollout, members):
            if member.state != "waiting" or installation.updating:
                continue
            await self._update_one(rollout, member)
            async with self._transaction() as session:
                rollouts = RolloutRepository(session)
                present = await rollouts.get(rollout.id)
                members = await rollouts.members(rollout.id)
            if present is None or present.state != "running" or breach(present, figures(members)) is not None:
                return

    async def _update_one(self, rollout: Rollout, member: RolloutMember) -> None:
        """Raises Unavailable."""
        state, reason = "updated", None
        try:
            decision = await self._decide(rollout, member)
            if decision is not None:
                await self._updates.carry_out(decision)
        except Unavailable:
            raise
        except OutletError as error:
            if error.problem_code in PASSING:
                return  # somebody else is at it
            state, reason = "failed", error.detail
        async with self._transaction() as session:
            await RolloutRepository(session).mark(member, state, reason)

    async def _decide(self, rollout: Rollout, member: RolloutMember) -> Decision | None:
        """What the store is to have; None: it has it. Raises Conflict when that failed there since the beginning."""
        async with self._transaction() as session:
            row = await InstallationRepository(session).get(member.installation_id)
            target = await CatalogueRepository(session).version(rollout.plugin_id, rollout.version)
            skipped = await UpdateRepository(session).skipped(member.installation_id)
        assert target is not None  # noqa: S101  published versions stay
        if row is None or row[0].version == rollout.version:
            return None
        for each in skipped:  # by the registry that began it, before it died
            if each.version == rollout.version and each.at >= rollout.created_at:
                raise Conflict(each.reason, code="version_skipped")
        manifest = read_manifest(target)
        more = {wish.name for wish in beyond(manifest, read_manifest(row[1]))}
        grants = [*carried(row[0].grants, manifest), *(each for each in rollout.new_grants if each in more)]
        return Decision(row, target, grants, await next_config(row, target), _by(rollout))

    async def _roll_back(self, rollout: Rollout, members: Sequence[Member]) -> None:
        left = False
        for member, installation in members:
            if member.state == "updated" and not await self._roll_back_one(rollout, member):
                left = True
            left = left or (member.state == "waiting" and installation.updating)
        if left:
            return
        async with self._transaction() as session:
            present = await RolloutRepository(session).lock(rollout.id)
            if present is not None and present.state == "rolling-back":
                present.state = "rolled-back"

    async def _roll_back_one(self, rollout: Rollout, member: RolloutMember) -> bool:
        """False when it has to be tried again."""
        state, reason = "rolled-back", None
        try:
            async with self._transaction() as session:
                publications = PublicationLog(session)
                revision = await publications.next_revision()
                row = await InstallationRepository(session).lock(member.installation_id)
                if row is not None and row[0].version == rollout.version:
                    why = f"roll-out ended: {rollout.reason}"
                    version = await self._updates.switch_back(session, row, _by(rollout), why)
                    row[0].revision = revision
                    await publications.announce(row[0], version)
        except Unavailable:
            raise
        except OutletError as error:
            if error.problem_code in PASSING:
                return False
            state, reason = "failed", f"cannot be rolled back: {error.detail}"
        async with self._transaction() as session:
            await RolloutRepository(session).mark(member, state, reason)
        self._updates.announced()
        return True


def _by(rollout: Rollout) -> Actor:
    return Actor(f"roll-out by {rollout.created_by}", PLATFORM.role)
