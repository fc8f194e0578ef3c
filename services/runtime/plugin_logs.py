"""What plugins log, and how they fail, for their authors to follow: gathered here, written to Redis in batches."""

import asyncio
from collections import deque
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from services.common.plugin_logs import FIELD, KEPT_SECONDS, MOST_LINES, PluginLogLine, stream_of
from services.common.runtime_client import PluginFailed

log = structlog.get_logger(__name__)

WAITING = 10_000
"""Lines that wait to be written; of more, the oldest go."""
BATCH = 500
FLUSH_SECONDS = 0.1
MAX_MESSAGE = 2_000
MAX_META_BYTES = 4_000
MAX_STACK = 4_000

_encoder = msgspec.json.Encoder(decimal_format="string")


class PluginLogs:
    """Takes lines at any time and never waits. Without Redis lines are lost here; the worker's own log has them."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[str, PluginLogLine]] = deque(maxlen=WAITING)

    def add(
        self, installation_id: str, level: str, message: str, during: str, store: str | None, meta: dict[str, Any]
    ) -> None:
        """A line that a plugin has written."""
        self._put(installation_id, level=level, message=message, during=during, store_id=store, meta=_small(meta))

    def failed(self, installation_id: str, during: str, store: str | None, failure: PluginFailed) -> None:
        """A handler has failed."""
        self._put(
            installation_id,
            level="error",
            message=failure.message,
            during=during,
            store_id=store,
            code=failure.code,
            stack=failure.stack[-MAX_STACK:] or None,
        )

    def _put(self, installation_id: str, *, message: str, **members: Any) -> None:
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._waiting.append((installation_id, PluginLogLine(at=at, message=message[:MAX_MESSAGE], **members)))

    async def run(self, redis: Redis) -> None:
        """Write what was gathered, until cancelled."""
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            try:
                await self.flush(redis)
            except (RedisError, OSError) as error:
                log.warning("recent logs of plugins not written", error=repr(error))

    async def flush(self, redis: Redis) -> None:
        """Write all that waits now."""
        while self._waiting:
            lines = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            pipeline = redis.pipeline(transaction=False)
            for installation_id, line in lines:
                pipeline.xadd(
                    stream_of(installation_id), {FIELD: _encoder.encode(line)}, maxlen=MOST_LINES, approximate=True
                )
            for installation_id in {found for found, _ in lines}:
                pipeline.expire(stream_of(installation_id), KEPT_SECONDS)
            await pipeline.execute()


def _small(meta: dict[str, Any]) -> dict[str, Any]:
    """``meta`` as JSON can hold it, or a word that it cannot."""
    try:
        size = len(_encoder.encode(meta))
    except (TypeError, ValueError, OverflowError, RecursionError):
        return {"outlet": "the meta of this line is no JSON"}
    return meta if size <= MAX_META_BYTES else {"outlet": f"the meta of this line has {size} bytes"}
