"""Which version an installation may be updated to, and whether that waits for somebody."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from services.common.errors import Conflict, NotFound
from services.registry.catalogue.schemas import read_manifest
from services.registry.catalogue.versions import later, precedence
from services.registry.installations.repository import Row
from services.registry.models import Installation, PluginVersion
from services.registry.updates.differences import Wish, beyond
from services.registry.updates.models import SkippedVersion
from services.registry.updates.policies import Policy, choose
from services.registry.updates.repository import UpdateRepository
from services.registry.updates.schemas import UpdateState


@dataclass(frozen=True, slots=True)
class Candidate:
    """A version that an installation may be updated to; ``target`` None: there is none."""

    state: UpdateState
    target: PluginVersion | None = None
    needs_consent: list[Wish] = field(default_factory=list)


def asked_beyond(target: PluginVersion, present: PluginVersion) -> list[Wish]:
    """What one version asks for and another does not."""
    return beyond(read_manifest(target), read_manifest(present))


def candidate(
    installation: Installation,
    present: PluginVersion,
    versions: Sequence[PluginVersion],
    policy: Policy,
    skipped: Sequence[SkippedVersion],
    asks: Callable[[PluginVersion, PluginVersion], list[Wish]] = asked_beyond,
) -> Candidate:
    """What comes by itself under the policy, else the latest version that can be asked for."""
    by_version = {each.version: each for each in versions}
    not_again = {each.version for each in skipped}
    own = choose(policy, installation.version, by_version, not_again)
    chosen = own or _latest_after(installation.version, by_version)
    if installation.updating:
        return Candidate(UpdateState.UPDATING, by_version.get(chosen) if chosen else None)
    if chosen is None:
        return Candidate(UpdateState.UP_TO_DATE)
    target = by_version[chosen]
    asked = asks(target, present)
    if own is not None:
        return Candidate(UpdateState.AWAITING_CONSENT if asked else UpdateState.AUTOMATIC, target, asked)
    return Candidate(UpdateState.SKIPPED if chosen in not_again else UpdateState.AVAILABLE, target, asked)


class Offered:
    """What is offered to many installations, read once for those that are alike."""

    def __init__(self, updates: UpdateRepository) -> None:
        self._updates = updates
        self._versions: dict[tuple[str, str], Sequence[PluginVersion]] = {}
        self._policies: dict[str, Policy] = {}
        self._asked: dict[tuple[str, str], list[Wish]] = {}

    async def candidates(self, rows: Sequence[Row]) -> list[tuple[Row, Candidate]]:
        """See :func:`candidate`."""
        skipped: dict[UUID, list[SkippedVersion]] = defaultdict(list)
        for each in await self._updates.skipped(*(installation.id for installation, _ in rows)):
            skipped[each.installation_id].append(each)
        found = []
        for installation, present in rows:
            plugin_id, organization = installation.plugin_id, installation.organization_id
            place = (plugin_id, organization)
            if place not in self._versions:
                self._versions[place] = await self._updates.versions(plugin_id, organization)
            if organization not in self._policies:
                self._policies[organization] = await self._updates.policy(organization)
            versions, policy = self._versions[place], self._policies[organization]
            chosen = candidate(installation, present, versions, policy, skipped[installation.id], self._beyond)
            found.append(((installation, present), chosen))
        return found

    def _beyond(self, target: PluginVersion, present: PluginVersion) -> list[Wish]:
        key = (target.digest, present.digest)
        if key not in self._asked:
            self._asked[key] = asked_beyond(target, present)
        return self._asked[key]


def named(installation: Installation, versions: Sequence[PluginVersion], wanted: str | None) -> PluginVersion:
    """The version that somebody asks for; None: the latest. Raises NotFound or Conflict."""
    by_version = {each.version: each for each in versions}
    if wanted is None:
        wanted = _latest_after(installation.version, by_version)
        if wanted is None:
            raise Conflict(
                f"The installation has the latest version, {installation.version}.",
                code="nothing_to_update",
                remedy="Nothing is to be done.",
            )
    if wanted not in by_version:
        raise NotFound(f"The plugin {installation.plugin_id!r} has no version {wanted!r}.", code="version_not_found")
    if precedence(wanted) <= precedence(installation.version):
        raise Conflict(
            f"Version {wanted} does not come after {installation.version}, which is installed.",
            code="version_not_newer",
            remedy="Roll the installation back to go to its previous version.",
        )
    return by_version[wanted]


def _latest_after(present: str, versions: dict[str, PluginVersion]) -> str | None:
    """What an installation that names no version would get, when that comes after the present one."""
    latest = present
    for version in versions:
        latest = later(latest, version)
    return latest if precedence(latest) > precedence(present) else None
