"""Background work that a handler asks for: a row of its own transaction, run later."""

from datetime import UTC, datetime
from typing import Any

from outlet._rules.jobs import check_job_key, encode_payload, planned
from services.common.tracing import current, text_of
from services.runtime.background import work
from services.runtime.background.work import NewWork, job_id
from services.runtime.plugin_api.errors import ApiRefusal
from services.runtime.plugin_api.groups import Arguments, Context, Group, method


class Enqueue(Arguments):
    name: str
    payload: Any = None
    delay: float = 0.0
    at: datetime | None = None
    key: str | None = None


class Jobs(Group):
    """``jobs.enqueue``."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._enqueued = 0

    @method("jobs.enqueue", Enqueue)
    async def enqueue(self, call: Enqueue) -> str:
        own = self.installation.id
        if call.name not in {job.name for job in self.installation.manifest.jobs}:
            raise ApiRefusal("unknown_job", f"the plugin declares no job {call.name!r:.80}")
        planned_at = planned(call.delay, call.at, datetime.now(UTC))
        payload = encode_payload(call.payload)
        async with self.work.use(writes=True) as connection:
            if call.key is None:
                self._enqueued += 1
                made = job_id(*self.invocation.key.row(), str(self._enqueued))
            else:
                made = job_id(own, call.name, check_job_key(call.key))
                if not await work.claim_key(connection, own, call.name, call.key):
                    return made
            if await work.is_full(connection, own):
                raise ApiRefusal("too_many_jobs", f"{work.MOST_WAITING} jobs of this installation wait already")
            added = NewWork(
                id=made,
                kind="job",
                installation_id=own,
                name=call.name,
                store_id=self.invocation.store,
                payload=payload,
                planned_at=planned_at,
                trace=text_of(current()),
            )
            await work.add(connection, added)
        return made
