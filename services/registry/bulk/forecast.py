"""What a job would do in one store, as things stand: the same checks, and nothing is changed."""

from collections.abc import Mapping
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from outlet.manifest import Manifest
from services.common.errors import Conflict, OutletError
from services.registry.bulk.asking import options_of
from services.registry.bulk.models import BulkJob
from services.registry.bulk.presence import is_installed, present, reached
from services.registry.bulk.schemas import BulkForecast
from services.registry.catalogue.schemas import read_manifest
from services.registry.configuration import complete_config
from services.registry.installations.lifecycle import Move, Status, check_move, legal_moves
from services.registry.installations.repository import Row
from services.registry.installations.requirements import check_dependants, check_dependencies, check_not_needed
from services.registry.licences.entitlement import check_entitled
from services.registry.models import PluginVersion
from services.registry.secret_settings import masks, with_kept
from services.registry.updates.candidates import named
from services.registry.updates.repository import UpdateRepository
from services.registry.updates.service import next_config, next_grants

Config = dict[str, Any] | None

MOVES: Mapping[str, Move] = {
    "activate": Move.ACTIVATE,
    "deactivate": Move.DEACTIVATE,
    "update": Move.UPDATE,
    "rollback": Move.ROLL_BACK,
    "configure": Move.CONFIGURE,
    "uninstall": Move.UNINSTALL,
}


async def forecast(
    session: AsyncSession, job: BulkJob, store: str, target: PluginVersion | None, config: Config
) -> BulkForecast:
    """Whether a store would be changed, skipped or refused. Plugins' own hooks may still fail."""
    row, outcome, code, detail = await present(session, job, store), "act", None, None
    try:
        found = reached(job, row, None)
        if found is not None:
            outcome, code, detail = "skip", found.code, found.detail
        elif job.action == "install":
            await _check_install(session, job, store, row, target)
        elif row is not None:
            await _check_change(session, job, row, target, config)
    except OutletError as error:
        outcome, code, detail = "refuse", error.problem_code, error.detail
    return BulkForecast.model_validate(
        {
            "store_id": store,
            "outcome": outcome,
            "code": code,
            "detail": detail,
            "installation_id": None if row is None else row[0].id,
            "version": None if row is None else row[0].version,
        }
    )


async def _check_install(
    session: AsyncSession, job: BulkJob, store: str, row: Row | None, target: PluginVersion | None
) -> None:
    assert target is not None  # noqa: S101  a version was chosen
    if row is not None and not is_installed(job, row[0]):
        legal = legal_moves(Status(row[0].status), installed=row[0].installed_at is not None)
        if row[0].store_id is None or Move.INSTALL not in legal:
            where = "the whole organization" if row[0].store_id is None else "this store"
            raise Conflict(f"Version {row[0].version} is installed for {where}.", code="already_installed")
    manifest, options = read_manifest(target), options_of(job)
    if not options.with_dependencies:
        await check_dependencies(session, manifest, job.organization_id, store)
    if options.activate:
        await check_entitled(session, job.organization_id, manifest)


async def _check_change(
    session: AsyncSession, job: BulkJob, row: Row, target: PluginVersion | None, config: Config
) -> None:
    installation, manifest = row[0], read_manifest(row[1])
    move = MOVES[job.action]
    check_move(move, Status(installation.status), installed=installation.installed_at is not None)
    match move:
        case Move.ACTIVATE:
            await check_dependencies(session, manifest, installation.organization_id, installation.store_id)
            await check_entitled(session, installation.organization_id, manifest)
        case Move.DEACTIVATE | Move.UNINSTALL if not options_of(job).cascade:
            await check_not_needed(session, installation, active_only=move is Move.DEACTIVATE)
        case Move.CONFIGURE:
            await _check_config(row, manifest, config or {})
        case Move.UPDATE:
            await _check_update(session, job, row, target, config)
        case Move.ROLL_BACK:
            previous = await UpdateRepository(session).previous(installation.id)
            if previous is None:
                raise Conflict("The installation has no previous version.", code="nothing_to_roll_back")
            await check_dependants(session, installation, previous.version)


async def _check_config(row: Row, manifest: Manifest, config: dict[str, Any]) -> None:
    secrets = manifest.secret_settings()
    kept = masks(config, secrets)
    wanted = with_kept(config, row[0].config, kept)
    await complete_config(wanted, manifest.settings_schema, secrets=secrets, sealed=kept)


async def _check_update(
    session: AsyncSession, job: BulkJob, row: Row, target: PluginVersion | None, config: Config
) -> None:
    assert target is not None  # noqa: S101  a version was chosen
    installation = row[0]
    named(installation, [target], target.version)
    next_grants(row, target, job.grants)
    await next_config(row, target, config)
    await check_dependencies(session, read_manifest(target), installation.organization_id, installation.store_id)
    await check_dependants(session, installation, target.version)
