"""Asking for bulk jobs, ending them, trying again what failed, and reading how far they are."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID, uuid4

from sqlmodel.ext.asyncio.session import AsyncSession

from services.common.auth import Caller
from services.common.errors import Conflict, Forbidden, NotFound, Unprocessable
from services.common.secret_settings import SecretKeys
from services.common.wire import Page, decode_cursor, encode_cursor, invalid_cursor
from services.registry.audit.trail import record
from services.registry.bulk.asking import kept_caller, seal_config
from services.registry.bulk.forecast import forecast
from services.registry.bulk.models import BulkItem, BulkJob
from services.registry.bulk.repository import OPEN, BulkRepository
from services.registry.bulk.schemas import (
    BulkForecast,
    BulkItemDocument,
    BulkJobDetails,
    BulkJobDocument,
    BulkPreview,
    BulkRequest,
    BulkSelection,
    ItemState,
)
from services.registry.catalogue.schemas import read_manifest
from services.registry.configuration import complete_config
from services.registry.database import Transaction
from services.registry.installations.grants import chosen_grants
from services.registry.installations.service import wanted_version
from services.registry.models import PluginVersion
from services.registry.scopes.repository import ScopeRepository

MAX_STORES = 10_000
MAX_FORESEEN = 2_000
"""A dry run is answered at once, and takes some milliseconds for each store."""
LOOKED_AT_TOGETHER = 100
_OF_JOB = ("id", "action", "plugin_id", "version", "created_at", "created_by", "cancelled_at")


class BulkService:
    """Jobs of the caller's organization. All methods raise OutletError."""

    def __init__(self, transaction: Transaction, keys: SecretKeys) -> None:
        self._transaction = transaction
        self._keys = keys

    async def begin(self, caller: Caller, wanted: BulkRequest) -> UUID:
        """Keep a job, which is worked off from now on; its id."""
        job, stores, _ = await self._prepare(caller, wanted)
        async with self._transaction() as session:
            await BulkRepository(session).add(job, stores)
            asked = {
                "action": job.action,
                "version": job.version,
                "grants": job.grants,
                "options": job.options,
                "stores": stores,
            }
            await record(session, caller.organization, caller, "bulk.begin", _about(job), after=asked)
        return job.id

    async def preview(self, caller: Caller, wanted: BulkRequest) -> BulkPreview:
        """What a job would do, store by store, as things stand now."""
        job, stores, target = await self._prepare(caller, wanted)
        found: list[BulkForecast] = []
        for begin in range(0, len(stores), LOOKED_AT_TOGETHER):
            async with self._transaction() as session:
                together = stores[begin : begin + LOOKED_AT_TOGETHER]
                found += [await forecast(session, job, store, target, wanted.config) for store in together]
        counts = {outcome: sum(each.outcome == outcome for each in found) for outcome in ("act", "skip", "refuse")}
        return BulkPreview(action=wanted.action, plugin_id=job.plugin_id, version=job.version, stores=found, **counts)

    async def cancel(self, caller: Caller, job_id: UUID) -> None:
        """Leave undone what has not begun."""
        async with self._transaction() as session:
            bulk = BulkRepository(session)
            job = _own(caller, await bulk.lock(job_id))
            if not _open((await bulk.counts([job_id]))[job_id]):
                raise Conflict("The job has ended.", code="bulk_ended", remedy="Nothing is to be done.")
            job.cancelled_at = job.cancelled_at or await bulk.now()
            left = await bulk.skip_waiting(job_id)
            await record(session, caller.organization, caller, "bulk.cancel", _about(job), after={"undone": left})

    async def retry(self, caller: Caller, job_id: UUID) -> None:
        """Try the stores again that failed."""
        async with self._transaction() as session:
            bulk = BulkRepository(session)
            job = _own(caller, await bulk.lock(job_id))
            again = await bulk.again(job_id)
            if not again:
                raise Conflict("None of its stores failed.", code="nothing_to_retry", remedy="Nothing is to be done.")
            job.cancelled_at = None
            job.asked_by = kept_caller(caller)  # what is done from now on, this one asked for
            await record(session, caller.organization, caller, "bulk.retry", _about(job), after={"stores": again})

    async def page(self, caller: Caller, limit: int, cursor: str | None) -> Page[BulkJobDocument]:
        """The jobs of the organization, the newest first."""
        _check_place(caller)
        async with self._transaction() as session:
            bulk = BulkRepository(session)
            jobs = await bulk.of(caller.organization, limit + 1, None if cursor is None else _position(cursor))
            counts = await bulk.counts([job.id for job in jobs])
        items = [_document(job, counts[job.id]) for job in jobs[:limit]]
        if len(jobs) <= limit:
            return Page(items=items)
        last = jobs[limit - 1]
        return Page(items=items, next_cursor=encode_cursor(last.created_at.isoformat(), str(last.id)))

    async def read(
        self, caller: Caller, job_id: UUID, state: ItemState | None, limit: int, cursor: str | None
    ) -> BulkJobDetails:
        """How far a job is, and a page of its stores. Raises NotFound when it is none of the caller's."""
        after = -1 if cursor is None else _number(cursor)
        async with self._transaction() as session:
            bulk = BulkRepository(session)
            job = _own(caller, await bulk.get(job_id))
            counts = (await bulk.counts([job_id]))[job_id]
            found = await bulk.items(job_id, state, limit + 1, after)
        items: list[BulkItem] = [*found[:limit]]
        following = encode_cursor(str(items[-1].position)) if len(found) > limit else None
        page = Page[BulkItemDocument](
            items=[BulkItemDocument.model_validate(each) for each in items], next_cursor=following
        )
        return BulkJobDetails(**_document(job, counts).model_dump(), stores=page)

    async def _prepare(self, caller: Caller, wanted: BulkRequest) -> tuple[BulkJob, list[str], PluginVersion | None]:
        """The job, its stores, and the version to install or update to; what is wrong for all stores is said now."""
        _check_place(caller)
        target = None
        async with self._transaction() as session:
            most = MAX_FORESEEN if wanted.dry_run else MAX_STORES
            stores = await _chosen(session, caller.organization, wanted.selection, most)
            if wanted.action in ("install", "update"):
                target = await wanted_version(session, wanted.plugin_id, wanted.version, caller.organization)
        if target is not None:
            manifest = read_manifest(target)
            chosen_grants(manifest, wanted.grants)
            if wanted.action == "install":
                config = wanted.config or {}
                await complete_config(config, manifest.settings_schema, secrets=manifest.secret_settings())
        job = BulkJob(
            id=uuid4(),
            organization_id=caller.organization,
            plugin_id=wanted.plugin_id,
            action=wanted.action,
            version=wanted.version if target is None else target.version,
            grants=wanted.grants,
            options=wanted.options.model_dump(mode="json"),
            created_by=caller.subject,
            asked_by=kept_caller(caller),
        )
        seal_config(job, wanted.config, self._keys)
        return job, stores, target


async def _chosen(session: AsyncSession, organization: str, wanted: BulkSelection, most: int) -> list[str]:
    """The stores that are meant, each once. Raises NotFound or Unprocessable."""
    scopes = ScopeRepository(session)
    by_region = await scopes.stores(organization) if wanted.regions else {}
    for region in wanted.regions:
        if await scopes.region(organization, region) is None:
            raise NotFound(f"There is no region {region!r}.", code="region_not_found")
    of_regions = [store for region in wanted.regions for store in sorted(by_region.get(region, ()))]
    stores = [*dict.fromkeys([*wanted.stores, *of_regions])]
    if not 0 < len(stores) <= most:
        what = "No store is in these regions." if not stores else f"{len(stores):,} stores are too many at once."
        fault = {"path": "selection", "message": f"choose from 1 to {most:,} stores"}
        raise Unprocessable(what, code="invalid_selection", errors=[fault])
    return stores


def _document(job: BulkJob, counts: Mapping[str, int]) -> BulkJobDocument:
    ended = "completed" if job.cancelled_at is None else "cancelled"
    states = {state: counts.get(state, 0) for state in ("waiting", "running", "done", "failed", "skipped")}
    return BulkJobDocument.model_validate(
        {
            **{name: getattr(job, name) for name in _OF_JOB},
            **states,
            "state": "running" if _open(counts) else ended,
            "total": sum(states.values()),
        }
    )


def _open(counts: Mapping[str, int]) -> bool:
    return any(counts.get(state) for state in OPEN)


def _about(job: BulkJob) -> dict[str, str]:
    return {"pluginId": job.plugin_id, "jobId": str(job.id)}


def _check_place(caller: Caller) -> None:
    if caller.store is not None:
        raise Forbidden("Bulk jobs are for all stores; this token is bound to one.", code="wrong_store")


def _own(caller: Caller, found: BulkJob | None) -> BulkJob:
    _check_place(caller)
    if found is None or found.organization_id != caller.organization:
        raise NotFound("There is no such bulk job.", code="bulk_not_found")
    return found


def _position(cursor: str) -> tuple[datetime, UUID]:
    created_at, job_id = decode_cursor(cursor, 2)
    try:
        position = datetime.fromisoformat(created_at), UUID(job_id)
    except ValueError:
        raise invalid_cursor() from None
    if position[0].tzinfo is None:
        raise invalid_cursor()
    return position


def _number(cursor: str) -> int:
    (position,) = decode_cursor(cursor, 1)
    if not position.isascii() or not position.isdigit() or len(position) > 9:
        raise invalid_cursor()
    return int(position)
