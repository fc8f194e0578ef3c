"""``GET /api/plugins/{id}/logs``: what an installation has logged lately, and what it logs from now on."""

import re
from typing import Annotated, Any
from uuid import UUID

import msgspec
from fastapi import APIRouter, Depends, Query, Request
from pydantic import Field
from redis.asyncio import Redis
from redis.exceptions import RedisError

from services.common.auth import SEES, Caller, require
from services.common.directory import Directory
from services.common.errors import BadRequest, NotFound, Unavailable
from services.common.plugin_logs import FIELD, MOST_LINES, PluginLogLine, stream_of
from services.common.wire import BEARER, Document, problems

LONGEST_WAIT = 20.0

router = APIRouter(prefix="/api/plugins", tags=["installations"], dependencies=[BEARER])

_POSITION = re.compile(r"\d{1,20}-\d{1,20}")
_decoder = msgspec.json.Decoder(PluginLogLine)


class LogLineDocument(Document):
    """One line, or one failure of a handler (with ``code`` and ``stack``)."""

    at: str
    level: str
    message: str
    during: str = Field(description="An event type, METHOD /path of a route, or the name of a schedule or job.")
    store_id: str | None
    meta: dict[str, Any]
    code: str | None
    stack: str | None


class LogPage(Document):
    """Lines in the order in which they were written."""

    lines: list[LogLineDocument]
    next_after: str = Field(description="For `after`, to get what is written from now on.")


class PluginLogReader:
    """Reads the recent logs that workers keep in Redis."""

    def __init__(self, redis: Redis, directory: Directory) -> None:
        self._redis = redis
        self._directory = directory

    async def read(self, caller: Caller, installation_id: str, after: str | None, limit: int, wait: float) -> LogPage:
        """The newest lines, or those after a position: then ``wait`` seconds for the first. Raises OutletError."""
        found = self._directory.get(installation_id)
        if found is None or found.organization_id != caller.organization or not _covers(caller, found.store_id):
            raise NotFound(f"There is no installation {installation_id!r}.", code="installation_not_found")
        try:
            entries = await self._entries(stream_of(installation_id), after, limit, int(wait * 1000) or None)
        except (RedisError, OSError) as error:
            raise Unavailable("The recent logs cannot be read now.", code="logs_unavailable") from error
        lines = [LogLineDocument.model_validate(_decoder.decode(_field(entry))) for _, entry in entries]
        last = _text(entries[-1][0]) if entries else after or "0-0"
        return LogPage(lines=lines, next_after=last)

    async def _entries(self, stream: str, after: str | None, limit: int, block: int | None) -> list[Any]:
        """Pairs of position and fields, in order. The client's own types allow for what Redis does not answer here."""
        if after is None:
            newest: Any = await self._redis.xrevrange(stream, count=limit)
            return list(reversed(newest))
        answer: Any = await self._redis.xread({stream: after}, count=limit, block=block)
        return list(answer[0][1]) if answer else []


def _reader(request: Request) -> PluginLogReader:
    reader: PluginLogReader = request.app.state.plugin_logs
    return reader


@router.get("/{installation_id}/logs", responses=problems(400, 401, 403, 404, 422, 503))
async def read_logs(
    caller: Annotated[Caller, Depends(require(SEES))],
    reader: Annotated[PluginLogReader, Depends(_reader)],
    installation_id: UUID,
    after: Annotated[str | None, Query(description="`nextAfter` of an earlier answer; without it, the newest.")] = None,
    limit: Annotated[int, Query(ge=1, le=MOST_LINES)] = 100,
    wait: Annotated[float, Query(ge=0, le=LONGEST_WAIT, description="Seconds to wait for a line after that.")] = 0,
) -> LogPage:
    """The recent log, of which about 1,000 lines are kept; to follow it, ask again with `after` and `wait`."""
    if after is not None and not _POSITION.fullmatch(after):
        raise BadRequest(
            "This position is none that a log gave out.", code="invalid_cursor", remedy="Start again without after."
        )
    return await reader.read(caller, str(installation_id), after, limit, wait)


def _covers(caller: Caller, store: str | None) -> bool:
    return caller.store is None or store in (None, caller.store)


def _field(entry: dict[Any, Any]) -> bytes:
    found = entry.get(FIELD)
    data: bytes = found if found is not None else entry[FIELD.decode()]
    return data


def _text(position: bytes | str) -> str:
    return position if isinstance(position, str) else position.decode()
