"""What regions and stores have otherwise than their organization."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from services.common.auth import Caller
from services.common.errors import Forbidden, NotFound, Unprocessable
from services.common.secret_settings import SecretKeys, is_sealed
from services.registry.audit.trail import record, record_personal_data
from services.registry.database import Transaction
from services.registry.installations.operations import Operations
from services.registry.installations.publication import PublicationLog
from services.registry.installations.trail import named
from services.registry.scopes.models import InstallationOverride
from services.registry.scopes.planning import Level, Reading, no_region, overridable
from services.registry.scopes.regions import check_whole_organization
from services.registry.scopes.repository import ScopeRepository
from services.registry.scopes.resolution import Layers, granted
from services.registry.scopes.schemas import OverrideRequest
from services.registry.secret_settings import masked, masks, sealed, with_kept


class OverrideService:
    """Changes overrides. All methods raise OutletError, with the HTTP status and code for the caller."""

    def __init__(self, transaction: Transaction, operations: Operations, keys: SecretKeys) -> None:
        self._transaction = transaction
        self._operations = operations
        self._keys = keys

    async def put(
        self, caller: Caller, installation_id: UUID, level: Level, place: str, wanted: OverrideRequest
    ) -> None:
        """Override in one place; what was overridden there before is replaced."""
        _check_place(caller, level, place)
        async with self._transaction() as session:
            reading = await Reading.of(session, await overridable(session, caller, installation_id), (level, place))
            if level == "region" and await ScopeRepository(session).region(caller.organization, place) is None:
                raise no_region(place)
        override = _override(reading, level, place, wanted)
        overrides = reading.but(level, place, override)
        _check_gains_nothing(caller, reading, overrides)
        await reading.check(overrides)
        secrets = reading.manifest.secret_settings()
        override.config = sealed(override.config, secrets, self._keys, reading.row[0])
        await self._carry_out(caller, level, place, reading, override)

    async def delete(self, caller: Caller, installation_id: UUID, level: Level, place: str) -> None:
        """Let a place have what is further up."""
        _check_place(caller, level, place)
        async with self._transaction() as session:
            reading = await Reading.of(session, await overridable(session, caller, installation_id), (level, place))
        if reading.at(level, place) is None:
            raise NotFound("Nothing is overridden there.", code="override_not_found")
        overrides = reading.but(level, place, None)
        _check_gains_nothing(caller, reading, overrides)
        await reading.check(overrides)
        await self._carry_out(caller, level, place, reading, None)

    async def _carry_out(
        self, caller: Caller, level: Level, place: str, former: Reading, override: InstallationOverride | None
    ) -> None:
        async with self._transaction() as session:
            publications, scopes = PublicationLog(session), ScopeRepository(session)
            revision = await publications.next_revision()
            row = await overridable(session, caller, former.row[0].id, self._operations)
            if level == "region" and await scopes.region(caller.organization, place) is None:
                raise no_region(place)
            reading = await Reading.of(session, row, (level, place))
            reading.check_unchanged(former)
            present = reading.at(level, place)
            was, grants = _shown(reading, present), _granted_in(reading, level, place, reading.overrides)
            if override is not None:
                await scopes.put(override)
            elif present is not None:
                await scopes.delete(present)
            row[0].revision = revision
            await publications.announce(*row)
            about = named(row[0]) | {"place": f"{level}:{place}"}
            after = _shown(reading, override)
            await record(session, caller.organization, caller, "override.set", about, before=was, after=after)
            given = _granted_in(reading, level, place, reading.but(level, place, override))
            await record_personal_data(session, caller.organization, caller, about, before=grants, after=given)
        self._operations.announced()


def _override(reading: Reading, level: Level, place: str, wanted: OverrideRequest) -> InstallationOverride:
    asked, present = reading.manifest.wanted_grants(), reading.at(level, place)
    secrets = reading.manifest.secret_settings()
    errors = [
        *({"path": f"grants.{name}", "message": f"is none of {list(asked)}"} for name in wanted.grants.keys() - asked),
        *({"path": f"$.{name}", "message": "is no text"} for name in secrets if is_sealed(wanted.config.get(name))),
        *({"path": f"$.{name}", "message": "is set and removed"} for name in wanted.config.keys() & wanted.removed),
    ]
    if errors:
        raise Unprocessable(
            "The override is at odds with the plugin or itself.", code="invalid_override", errors=errors
        )
    kept = masks(wanted.config, secrets)
    return InstallationOverride(
        installation_id=reading.row[0].id,
        level=level,
        place_id=place,
        config=with_kept(wanted.config, {} if present is None else present.config, kept),
        removed=sorted(set(wanted.removed)),
        grants=dict(wanted.grants),
    )


def _shown(reading: Reading, override: InstallationOverride | None) -> dict[str, Any]:
    """An override as the audit log compares it."""
    if override is None:
        return {}
    config = masked(override.config, reading.manifest.secret_settings())
    return {"config": config, "removed": override.removed, "grants": override.grants}


def _granted_in(
    reading: Reading, level: Level, place: str, overrides: Sequence[InstallationOverride]
) -> tuple[str, ...]:
    """All that is granted in a place when these are the overrides."""
    region, store = (place, None) if level == "region" else (reading.regions.get(place), place)
    return granted(reading.row[0].grants, Layers.of(overrides).at(region, store), reading.manifest)


def _check_gains_nothing(caller: Caller, reading: Reading, overrides: Sequence[InstallationOverride]) -> None:
    """Who speaks for one store takes permissions away there; only the organization gives them."""
    if caller.store is None:
        return
    installation, manifest = reading.row[0], reading.manifest
    had, has = (
        granted(installation.grants, Layers.of(each).at(reading.regions.get(caller.store), caller.store), manifest)
        for each in (reading.overrides, overrides)
    )
    gained = sorted(set(has) - set(had))
    if gained:
        raise Forbidden(
            f"A token of one store cannot grant {', '.join(gained)}.",
            code="grant_is_the_organizations",
            remedy="Ask an owner or admin of the whole organization.",
        )


def _check_place(caller: Caller, level: Level, place: str) -> None:
    if level == "region":
        check_whole_organization(caller)
    else:
        caller.choose_store(place)
