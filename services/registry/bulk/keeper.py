"""Works off the stores of bulk jobs, a few at a time. Several registries share them; each store is leased by one.

A registry that dies leaves its leases behind. Once they have run out another one takes the stores up again, looks at
what they have, and goes on from there.
"""

import asyncio
from contextlib import suppress
from datetime import timedelta
from uuid import UUID

import structlog

from services.common.background import running
from services.common.errors import OutletError, Unavailable
from services.registry.bulk.carrier import Carrier
from services.registry.bulk.models import BulkItem, BulkJob
from services.registry.bulk.presence import Reached, present, reached
from services.registry.bulk.repository import LEASE, BulkRepository
from services.registry.database import Transaction
from services.registry.installations.repository import Row

log = structlog.get_logger(__name__)

PAUSE = timedelta(seconds=2)
"""Before a store is tried again where somebody else was at it, or no worker could be reached."""
PASSING = frozenset({"conflict", "operation_in_progress", "operation_superseded", "changed_meanwhile"})


class BulkKeeper:
    """Does at most ``at_once`` stores at a time.

    Where it is not the time for a store, it is tried again for as long as ``patience``: longer than an operation of a
    registry that died keeps others out.
    """

    def __init__(self, transaction: Transaction, carrier: Carrier, at_once: int, patience: timedelta) -> None:
        self._transaction = transaction
        self._carrier = carrier
        self._at_once = at_once
        self._patience = patience

    async def run(self, pause: float) -> None:
        """Do what is due, pause for some seconds when nothing is, and so on until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._at_once):
                group.create_task(self._keep_on(pause))

    async def turn(self) -> None:
        """Do what is due now. Raises Unavailable."""
        await asyncio.gather(*(self._work_off() for _ in range(self._at_once)))

    async def _keep_on(self, pause: float) -> None:
        while True:
            try:
                await self._work_off()
            except Unavailable as error:
                log.warning("bulk jobs not looked at, trying again", error=error.detail)
            await asyncio.sleep(pause)

    async def _work_off(self) -> None:
        while True:
            async with self._transaction() as session:
                bulk = BulkRepository(session)
                item = await bulk.take()
                job = None if item is None else await bulk.get(item.job_id)
            if item is None or job is None:
                return
            async with running(lease=self._renew(item)):
                await self._settle(job, item)

    async def _settle(self, job: BulkJob, item: BulkItem) -> None:
        """Do one store, and keep what came of it. Raises Unavailable when that cannot be kept."""
        row: Row | None = None
        state, code, detail = "done", None, None
        try:
            row, found = await self._look(job, item)
            if found is not None:
                state = "skipped" if item.attempts == 1 else "done"
                code, detail = found.code, found.detail
                installation_id = None if row is None else row[0].id
            else:
                installation_id = await self._carrier.act(job, item.store_id, row)
        except OutletError as error:
            if await self._try_again(job, item, error):
                return
            state, code, detail = "failed", error.problem_code, error.detail
            known = error.members.get("installationId")
            installation_id = UUID(known) if known else None if row is None else row[0].id
        async with self._transaction() as session:
            await BulkRepository(session).end(item, state, code, detail, installation_id)
        log.info("store of a bulk job", job=str(job.id), store=item.store_id, state=state, code=code)

    async def _look(self, job: BulkJob, item: BulkItem) -> tuple[Row | None, Reached | None]:
        async with self._transaction() as session:
            row = await present(session, job, item.store_id)
            found = reached(job, row, item.from_version)
            if row is not None and item.from_version is None:
                await BulkRepository(session).remember_version(item, row[0].version)
        return row, found

    async def _try_again(self, job: BulkJob, item: BulkItem, error: OutletError) -> bool:
        """Whether a failure says only that it is not the time; the store waits then, unless the job was cancelled."""
        # An update whose deadline passed goes on until it is known what became of it.
        unknown = job.action == "update" and error.problem_code == "deadline_exceeded"
        if not (isinstance(error, Unavailable) or error.problem_code in PASSING or unknown):
            return False
        async with self._transaction() as session:
            bulk = BulkRepository(session)
            present_job = await bulk.lock(job.id)
            if present_job is None or await bulk.waited(item) > self._patience:
                return False
            await bulk.put_back(item, PAUSE, untouched=not isinstance(error, Unavailable))
            if present_job.cancelled_at is not None:
                await bulk.skip_waiting(job.id)
        return True

    async def _renew(self, item: BulkItem) -> None:
        while True:
            await asyncio.sleep(LEASE.total_seconds() / 3)
            with suppress(Unavailable):  # there are two more before it runs out
                async with self._transaction() as session:
                    await BulkRepository(session).renew(item)
