"""``/api/dead-letters``: events that plugins failed for good, to look at, to try again, and to give up."""

import uuid
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import Response

from services.common.auth import MANAGES, SEES, Caller, require
from services.common.dead_letter_client import DeadLetterClient
from services.common.errors import NotFound
from services.common.wire import BEARER, MAX_PAGE, Page, decode_cursor, encode_cursor, invalid_cursor, problems
from services.gateway.dead_letter_documents import (
    MAX_ID,
    Discarded,
    LetterDetails,
    LetterFilter,
    LetterSummary,
    ReplayDocument,
    ReplayStarted,
    SelectionRequest,
)

router = APIRouter(prefix="/api/dead-letters", tags=["dead letters"], dependencies=[BEARER])


def _client(request: Request) -> DeadLetterClient:
    client: DeadLetterClient = request.app.state.dead_letters
    return client


Seer = Annotated[Caller, Depends(require(SEES))]
Manager = Annotated[Caller, Depends(require(MANAGES))]
Client = Annotated[DeadLetterClient, Depends(_client)]

READING = problems(400, 401, 403, 404, 422, 502, 503, 504)
CHANGING = problems(401, 403, 422, 502, 503, 504)


class LetterQuery(LetterFilter):
    """A filter and a page of it."""

    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50
    cursor: str | None = None


@router.get("", responses=READING)
async def list_letters(caller: Seer, client: Client, wanted: Annotated[LetterQuery, Query()]) -> Page[LetterSummary]:
    """The organization's dead letters, the newest first; with a store's token, the store's."""
    before = None if wanted.cursor is None else _position(wanted.cursor)
    found = await client.list(wanted.selection(caller), wanted.limit + 1, before)
    page = [LetterSummary.model_validate(letter) for letter in found[: wanted.limit]]
    more = len(found) > wanted.limit
    return Page(items=page, next_cursor=encode_cursor(str(page[-1].id)) if more else None)


@router.get("/{letter_id}", response_model=LetterDetails, responses=READING)
async def read_letter(caller: Seer, client: Client, letter_id: Annotated[int, Path(ge=1, le=MAX_ID)]) -> Response:
    """One letter with what it holds."""
    opened = await client.get(caller.organization, caller.store, letter_id)
    if opened is None:
        raise NotFound("There is no such dead letter.", code="dead_letter_not_found")
    details: dict[str, Any] = LetterSummary.model_validate(opened.letter).model_dump(mode="json", by_alias=True) | {
        "eventTime": opened.event_time,
        "stack": opened.stack if caller.role in MANAGES else None,
        "payload": _payload(opened.payload),
    }
    return Response(msgspec.json.encode(details), media_type="application/json")


@router.post("/replay", responses=CHANGING)
async def replay(caller: Manager, client: Client, wanted: SelectionRequest) -> ReplayStarted:
    """Have letters tried again, each by the plugin that failed it and by no other."""
    replay_id = uuid.uuid4().hex
    taken = await client.replay(wanted.selection(caller), replay_id, dry_run=wanted.dry_run)
    if wanted.dry_run:
        return ReplayStarted(replay_id=None, total=taken.total, gone=taken.gone, left=taken.left)
    # A worker that broke off may have begun: what the replay holds is what counts.
    progress = await client.replay_progress(caller.organization, caller.store, replay_id)
    total = progress.total if progress else 0
    return ReplayStarted(replay_id=replay_id if total else None, total=total, gone=taken.gone, left=taken.left)


@router.post("/discard", responses=CHANGING)
async def discard(caller: Manager, client: Client, wanted: SelectionRequest) -> Discarded:
    """Give letters up; they are not shown any more."""
    taken = await client.discard(wanted.selection(caller), dry_run=wanted.dry_run)
    return Discarded(total=taken.total, left=taken.left)


@router.get("/replays/{replay_id}", responses=READING)
async def read_replay(
    caller: Seer, client: Client, replay_id: Annotated[str, Path(pattern="^[0-9a-f]{32}$")]
) -> ReplayDocument:
    """How far a replay is."""
    progress = await client.replay_progress(caller.organization, caller.store, replay_id)
    if progress is None:
        raise NotFound("There is no such replay.", code="replay_not_found")
    return ReplayDocument(
        replay_id=replay_id,
        total=progress.total,
        waiting=progress.waiting,
        succeeded=progress.succeeded,
        dead=progress.dead,
        discarded=progress.discarded,
    )


def _position(cursor: str) -> int:
    [text] = decode_cursor(cursor, 1)
    if not (text.isascii() and text.isdecimal() and 0 < int(text) <= MAX_ID):
        raise invalid_cursor()
    return int(text)


def _payload(data: bytes) -> msgspec.Raw | None:
    """The JSON as it is, digit by digit; None for what is none."""
    try:
        msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError):
        return None
    return msgspec.Raw(data)
