"""Reading what there is to update, and what an update or an installation would do."""

from collections.abc import Sequence
from uuid import UUID

from outlet.manifest import Manifest
from services.common.auth import Caller
from services.common.errors import Unprocessable
from services.registry.audit.trail import record
from services.registry.catalogue.schemas import read_manifest
from services.registry.catalogue.versions import precedence
from services.registry.database import Transaction
from services.registry.dependencies.service import DependencyService
from services.registry.installations.repository import InstallationRepository, Row
from services.registry.installations.scope import check_sees
from services.registry.models import Installation, PluginVersion
from services.registry.updates.candidates import Candidate, Offered, candidate, named
from services.registry.updates.differences import Wish, beyond, carried, settings_difference, wishes
from services.registry.updates.models import PreviousVersion, SkippedVersion
from services.registry.updates.policies import Policy
from services.registry.updates.repository import UpdateRepository
from services.registry.updates.schemas import (
    ChangeDocument,
    InstallPlan,
    NeededDocument,
    PreviousDocument,
    SettingsChange,
    SkippedDocument,
    UpdatePlan,
    UpdateSummary,
    WishDocument,
    WishesChange,
)
from services.registry.updates.service import next_config


class UpdateQueries:
    """What a caller may see of updates."""

    def __init__(self, transaction: Transaction, dependencies: DependencyService) -> None:
        self._transaction = transaction
        self._dependencies = dependencies

    async def policy(self, organization: str) -> Policy:
        """Which updates of an organization happen by themselves."""
        async with self._transaction() as session:
            return await UpdateRepository(session).policy(organization)

    async def set_policy(self, caller: Caller, policy: Policy) -> None:
        """Let updates of the caller's organization happen by themselves, or not."""
        async with self._transaction() as session:
            updates = UpdateRepository(session)
            before, after = {"policy": await updates.policy(caller.organization)}, {"policy": policy}
            await updates.set_policy(caller.organization, policy, caller.subject)
            await record(session, caller.organization, caller, "update-policy.set", {}, before=before, after=after)

    async def waiting(self, caller: Caller) -> list[UpdateSummary]:
        """The installations that the caller sees for which there is another version."""
        async with self._transaction() as session:
            updates = UpdateRepository(session)
            rows = await updates.behind_in(caller.organization, caller.store)
            found = await Offered(updates).candidates(rows)
        return [_summary(row[0], chosen, chosen.target) for row, chosen in found if chosen.target is not None]

    async def plan(self, caller: Caller, installation_id: UUID, wanted: str | None) -> UpdatePlan:
        """What an update to a version would do; None: to the one that would come. Raises NotFound or Conflict."""
        async with self._transaction() as session:
            updates = UpdateRepository(session)
            row = check_sees(caller, await InstallationRepository(session).get(installation_id))
            versions = await updates.versions(row[0].plugin_id, caller.organization)
            policy = await updates.policy(caller.organization)
            skipped, previous = await updates.skipped(installation_id), await updates.previous(installation_id)
        chosen = candidate(*row, versions, policy, skipped)
        target = chosen.target if wanted is None else named(row[0], versions, wanted)
        return await _plan(row, chosen, target, versions, skipped, previous)

    async def install_plan(self, caller: Caller, plugin_id: str, wanted: str | None, store: str | None) -> InstallPlan:
        """What an installation of a plugin would ask for, and what it needs. Raises NotFound or Conflict."""
        *needed, (_, version) = await self._dependencies.plan(caller, plugin_id, wanted, store)
        manifest = read_manifest(version)
        return InstallPlan(
            plugin_id=plugin_id,
            version=version.version,
            wishes=_documents(wishes(manifest)),
            settings_schema=manifest.settings_schema,
            changelog=manifest.changelog,
            needs=[
                NeededDocument(
                    plugin_id=chosen.plugin_id,
                    version=chosen.version,
                    installed=chosen.installed,
                    wishes=_documents(wishes(read_manifest(row))),
                )
                for chosen, row in needed
            ],
        )


def _summary(installation: Installation, chosen: Candidate, target: PluginVersion) -> UpdateSummary:
    return UpdateSummary(
        installation_id=installation.id,
        plugin_id=installation.plugin_id,
        store_id=installation.store_id,
        from_version=installation.version,
        to_version=target.version,
        state=chosen.state,
        needs_consent=_documents(chosen.needs_consent),
    )


async def _plan(
    row: Row,
    chosen: Candidate,
    target: PluginVersion | None,
    versions: Sequence[PluginVersion],
    skipped: Sequence[SkippedVersion],
    previous: PreviousVersion | None,
) -> UpdatePlan:
    installation, present = row[0], read_manifest(row[1])
    manifest = present if target is None else read_manifest(target)
    more = _documents(beyond(manifest, present))
    return UpdatePlan(
        installation_id=installation.id,
        plugin_id=installation.plugin_id,
        from_version=installation.version,
        to_version=None if target is None else target.version,
        state=chosen.state,
        changes=_changes(installation.version, target, versions),
        wishes=WishesChange(added=more, removed=_documents(beyond(present, manifest))),
        grants=carried(installation.grants, manifest),
        needs_consent=more,
        settings=await _settings(row, present, manifest, target),
        previous=None if previous is None else PreviousDocument.model_validate(previous),
        skipped=[SkippedDocument.model_validate(each) for each in skipped],
    )


def _changes(present: str, target: PluginVersion | None, versions: Sequence[PluginVersion]) -> list[ChangeDocument]:
    if target is None:
        return []
    lowest, highest = precedence(present), precedence(target.version)
    between = [each for each in versions if lowest < precedence(each.version) <= highest]
    return [
        ChangeDocument(version=each.version, published_at=each.published_at, changelog=read_manifest(each).changelog)
        for each in sorted(between, key=lambda each: precedence(each.version), reverse=True)
    ]


async def _settings(row: Row, present: Manifest, manifest: Manifest, target: PluginVersion | None) -> SettingsChange:
    difference = settings_difference(present, manifest)
    faults: list[dict[str, str]] = []
    if target is not None:
        try:
            await next_config(row, target)
        except Unprocessable as error:
            faults = error.members["errors"]
    return SettingsChange(added=difference.added, removed=difference.removed, changed=difference.changed, faults=faults)


def _documents(found: Sequence[Wish]) -> list[WishDocument]:
    return [WishDocument(name=each.name, purpose=each.purpose) for each in found]
