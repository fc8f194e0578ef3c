"""An installation with its overrides, as a change finds them, and what it would be everywhere after the change.

Whether a plugin's settings schema allows that takes time to find out: nothing is locked meanwhile, and the change is
refused when something else has changed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from outlet.manifest import Manifest
from services.common.auth import Caller
from services.common.errors import Conflict, NotFound
from services.registry.catalogue.schemas import read_manifest
from services.registry.installations.lifecycle import Move, Status, check_move
from services.registry.installations.operations import Operations
from services.registry.installations.repository import InstallationRepository, Row
from services.registry.installations.scope import check_sees
from services.registry.scopes.models import InstallationOverride
from services.registry.scopes.repository import Place, ScopeRepository
from services.registry.scopes.resolution import check_variants, variants_of

Level: TypeAlias = Literal["region", "store"]


@dataclass(frozen=True, slots=True)
class Reading:
    """``regions`` are those of the stores that its overrides, and the change, are about."""

    row: Row
    manifest: Manifest
    overrides: Sequence[InstallationOverride]
    regions: Mapping[str, str]

    @classmethod
    async def of(cls, session: AsyncSession, row: Row, *also: Place) -> "Reading":
        """``also``: the place that the change is about."""
        scopes, installation = ScopeRepository(session), row[0]
        overrides = await scopes.overrides(installation.id)
        places = [*((each.level, each.place_id) for each in overrides), *also]
        regions = await scopes.regions_that_matter(installation.organization_id, places)
        return cls(row, read_manifest(row[1]), overrides, regions)

    def at(self, level: Level, place: str) -> InstallationOverride | None:
        """What is overridden in a place."""
        return next((each for each in self.overrides if (each.level, each.place_id) == (level, place)), None)

    def but(self, level: Level, place: str, override: InstallationOverride | None) -> list[InstallationOverride]:
        """The overrides when this is the one of the place, or None is."""
        others = [each for each in self.overrides if (each.level, each.place_id) != (level, place)]
        return others if override is None else [*others, override]

    async def check(self, overrides: Sequence[InstallationOverride], regions: Mapping[str, str] | None = None) -> None:
        """Raises Unprocessable (``invalid_places`` or ``too_many_overrides``)."""
        installation, known = self.row[0], self.regions if regions is None else regions
        variants = variants_of(installation.grants, overrides, known, self.manifest)
        await check_variants(installation.config, self.manifest, variants)

    def check_unchanged(self, former: "Reading") -> None:
        """Raises Conflict (``changed_meanwhile``) when this is not what was read before."""
        if self._facts() != former._facts():
            raise changed_meanwhile()

    def _facts(self) -> tuple[object, ...]:
        installation, version = self.row
        overrides = [each.model_dump() for each in self.overrides]
        return version.digest, installation.config, installation.grants, overrides, self.regions


async def overridable(
    session: AsyncSession, caller: Caller, installation_id: UUID, operations: Operations | None = None
) -> Row:
    """An installation that may have overrides. With ``operations``: locked, and none of them is under way.

    Raises NotFound, or Conflict (``store_installation``, ``not_installed``, ``illegal_transition`` or
    ``operation_in_progress``).
    """
    installations = InstallationRepository(session)
    found = await (installations.get if operations is None else installations.lock)(installation_id)
    row = check_sees(caller, found)
    installation = row[0]
    if installation.store_id is not None:
        raise Conflict(
            f"The installation is for store {installation.store_id!r} alone: nothing is further down.",
            code="store_installation",
            remedy="Configure the installation itself.",
        )
    check_move(Move.CONFIGURE, Status(installation.status), installed=installation.installed_at is not None)
    if installation.installed_at is None:
        raise Conflict("onInstall has not succeeded yet.", code="not_installed", remedy="Install the plugin first.")
    if operations is not None:
        operations.check_idle(installation, await installations.now())
    if installation.updating:
        raise Conflict("The installation is being updated.", code="operation_in_progress", remedy="Wait for its end.")
    return row


def changed_meanwhile() -> Conflict:
    return Conflict(
        "The installation, a region or an override was changed meanwhile.",
        code="changed_meanwhile",
        remedy="Read the present state and send the request again.",
    )


def no_region(region_id: str) -> NotFound:
    return NotFound(f"There is no region {region_id!r}.", code="region_not_found")
