"""Beginning roll-outs, ending them by hand, and reading how far they are."""

from collections import Counter
from uuid import UUID, uuid4

from sqlalchemy.exc import IntegrityError
from sqlmodel.ext.asyncio.session import AsyncSession

from services.common.auth import Caller
from services.common.errors import Conflict, Forbidden, NotFound
from services.registry.audit.trail import record
from services.registry.catalogue.schemas import read_manifest
from services.registry.catalogue.versions import precedence
from services.registry.database import Transaction
from services.registry.installations.grants import chosen_grants
from services.registry.installations.service import wanted_version
from services.registry.models import PluginVersion
from services.registry.rollouts.models import Rollout
from services.registry.rollouts.progress import figures, in_order
from services.registry.rollouts.repository import Member, RolloutRepository
from services.registry.rollouts.schemas import MemberDocument, RolloutDocument, RolloutRequest, RolloutSummary
from services.registry.updates.differences import beyond
from services.registry.updates.service import ConsentRequired

_ENDED_FROM = {"cancelled": ("running",), "rolling-back": ("running", "cancelled", "completed")}


class RolloutService:
    """Roll-outs of the caller's organization. All methods raise OutletError."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def begin(self, caller: Caller, wanted: RolloutRequest) -> UUID:
        """Begin to bring a version to the stores that have an earlier one; the roll-out's id."""
        _check_place(caller)
        try:
            async with self._transaction() as session:
                return await self._add(session, caller, wanted)
        except IntegrityError:
            raise Conflict(
                f"A roll-out of {wanted.plugin_id!r} is under way.",
                code="rollout_in_progress",
                remedy="Wait for its end, cancel it, or roll it back.",
            ) from None

    async def end(self, caller: Caller, rollout_id: UUID, state: str) -> None:
        """Let a roll-out go no further: ``cancelled`` leaves the stores as they are, ``rolling-back`` does not."""
        _check_place(caller)
        async with self._transaction() as session:
            found = _own(caller, await RolloutRepository(session).lock(rollout_id))
            if found.state not in _ENDED_FROM[state]:
                raise Conflict(f"The roll-out is {found.state}.", code="rollout_ended", remedy="Nothing is to be done.")
            was = found.state
            found.state, found.reason = state, f"asked for by {caller.subject}"
            try:
                await session.flush()
            except IntegrityError:
                raise Conflict("Another roll-out of the plugin is under way.", code="rollout_in_progress") from None
            about = {"pluginId": found.plugin_id, "rolloutId": str(found.id)}
            before, after = {"state": was}, {"state": state}
            await record(session, caller.organization, caller, "rollout.end", about, before=before, after=after)

    async def list(self, caller: Caller) -> list[RolloutSummary]:
        """The newest 100 roll-outs of the organization."""
        async with self._transaction() as session:
            found = await RolloutRepository(session).of(caller.organization)
        return [RolloutSummary.model_validate(each) for each in found]

    async def read(self, caller: Caller, rollout_id: UUID) -> RolloutDocument:
        """How far a roll-out is. Raises NotFound when it is none of the caller's."""
        async with self._transaction() as session:
            rollouts = RolloutRepository(session)
            found = _own(caller, await rollouts.get(rollout_id))
            members = await rollouts.members(rollout_id)
        states, done = Counter(member.state for member, _ in members), figures(members)
        return RolloutDocument(
            **RolloutSummary.model_validate(found).model_dump(),
            stores=len(members),
            waiting=states["waiting"],
            updated=states["updated"],
            failed=states["failed"],
            rolled_back=states["rolled-back"],
            runs=done.runs,
            errors=done.errors,
            members=[_member(each) for each in members],
        )

    async def _add(self, session: AsyncSession, caller: Caller, wanted: RolloutRequest) -> UUID:
        target = await wanted_version(session, wanted.plugin_id, wanted.version, caller.organization)
        rollouts = RolloutRepository(session)
        rows = [
            row
            for row in await rollouts.eligible(caller.organization, wanted.plugin_id)
            if precedence(row[0].version) < precedence(target.version)
        ]
        if not rows:
            raise Conflict(
                f"No store has an earlier version of {wanted.plugin_id!r} installed for itself.",
                code="nothing_to_update",
                remedy="A roll-out is for installations in single stores; update one for all stores by itself.",
            )
        rollout = Rollout(
            id=uuid4(),
            organization_id=caller.organization,
            plugin_id=wanted.plugin_id,
            version=target.version,
            state="running",
            percents=wanted.percents,
            new_grants=_agreed(target, [row[1] for row in rows], wanted.new_grants),
            error_rate=wanted.error_rate,
            minimum_runs=wanted.minimum_runs,
            window_seconds=wanted.window_seconds,
            created_by=caller.subject,
        )
        stores = [(str(installation.id), installation.store_id or "") for installation, _ in rows]
        await rollouts.add(rollout, [UUID(each) for each in in_order(wanted.plugin_id, target.version, stores)])
        about = {"pluginId": rollout.plugin_id, "rolloutId": str(rollout.id)}
        asked = {"version": rollout.version, "percents": rollout.percents, "newGrants": rollout.new_grants}
        await record(session, caller.organization, caller, "rollout.begin", about, after=asked)
        return rollout.id


def _agreed(target: PluginVersion, present: list[PluginVersion], new_grants: list[str] | None) -> list[str]:
    """What is granted of what the version asks for the first time somewhere. Raises ConsentRequired."""
    manifest = read_manifest(target)
    more = {wish.name: wish for version in present for wish in beyond(manifest, read_manifest(version))}
    if more and new_grants is None:
        raise ConsentRequired(
            f"Version {target.version} asks for more: {', '.join(more)}.",
            remedy="Send newGrants: what each store is to grant of it, possibly nothing.",
            needsConsent=[{"name": wish.name, "purpose": wish.purpose} for wish in more.values()],
        )
    return chosen_grants(manifest, new_grants or [])


def _member(found: Member) -> MemberDocument:
    member, installation = found
    updated = member.state == "updated"
    return MemberDocument(
        installation_id=installation.id,
        store_id=installation.store_id,
        state=member.state,
        reason=member.reason,
        updated_at=member.updated_at,
        runs=max(0, installation.hook_runs - member.base_runs) if updated else 0,
        errors=max(0, installation.hook_errors - member.base_errors) if updated else 0,
    )


def _check_place(caller: Caller) -> None:
    if caller.store is not None:
        raise Forbidden("A roll-out is for all stores; this token is bound to one.", code="wrong_store")


def _own(caller: Caller, found: Rollout | None) -> Rollout:
    if found is None or found.organization_id != caller.organization:
        raise NotFound("There is no such roll-out.", code="rollout_not_found")
    return found
