"""Background work that a handler asks for: a row of its own transaction, run later."""

from datetime import UTC, datetime, timedelta
from typing import Any

from outlet import _values
from services.common.tracing import current, text_of
from services.runtime.background import work
from services.runtime.background.work import NewWork, job_id
from services.runtime.plugin_api.errors import ApiRefusal
from services.runtime.plugin_api.groups import Arguments, Context, Group, method

MAX_PAYLOAD_BYTES = 64 * 1024
MAX_KEY_LENGTH = 256
LONGEST_DELAY = timedelta(days=366)


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
        planned_at = _when(call, datetime.now(UTC))
        payload = _encode(call.payload)
        async with self.work.use(writes=True) as connection:
            if call.key is None:
                self._enqueued += 1
                made = job_id(*self.invocation.key.row(), str(self._enqueued))
            else:
                made = job_id(own, call.name, _checked(call.key))
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


def _when(call: Enqueue, now: datetime) -> datetime:
    if call.at is not None and call.at.tzinfo is None:
        raise ApiRefusal("invalid_delay", "the moment to run at needs a time zone")
    # NaN fails this comparison too
    if not 0 <= call.delay <= LONGEST_DELAY.total_seconds() or (call.at is not None and call.at > now + LONGEST_DELAY):
        raise ApiRefusal("invalid_delay", f"a job runs after 0 seconds to {LONGEST_DELAY.days} days")
    return max(now, call.at) if call.at is not None else now + timedelta(seconds=call.delay)


def _encode(payload: Any) -> bytes:
    encoded = _values.encode(payload)
    if len(encoded) > MAX_PAYLOAD_BYTES:
        raise ApiRefusal(
            "payload_too_large", f"a job's payload has at most {MAX_PAYLOAD_BYTES} bytes, not {len(encoded)}"
        )
    return encoded


def _checked(key: str) -> str:
    if not 0 < len(key) <= MAX_KEY_LENGTH or "\0" in key:
        raise ApiRefusal("invalid_key", f"a key has 1 to {MAX_KEY_LENGTH} characters, and none of them is NUL")
    return key
