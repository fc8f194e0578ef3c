"""The gRPC adapter of dead letters, beside that of the plugins' calls: protobuf comes in and goes out here."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC
from typing import TypeAlias

import grpc
import grpc.aio

from proto import runtime_pb2 as pb
from proto import runtime_pb2_grpc as pb_grpc
from services.common.database import DATABASE_ERRORS
from services.common.dead_letters import DeadLetter, Selection
from services.common.directory import Directory, Installation
from services.common.events import DomainEvent
from services.common.topics import ENTITIES
from services.runtime.commerce.personal_data import KINDS, hidden_from
from services.runtime.commerce.redaction import without
from services.runtime.delivery.dead_letter_queries import DeadLetterQueries
from services.runtime.delivery.unit_of_work import is_transient

Context: TypeAlias = "grpc.aio.ServicerContext[object, object]"


class DeadLetterService(pb_grpc.DeadLettersServicer):
    """Answers for the organization that the caller has read from a verified token."""

    def __init__(self, directory: Directory, queries: DeadLetterQueries) -> None:
        self._directory = directory
        self._queries = queries

    async def ListDeadLetters(  # noqa: N802
        self, request: pb.ListDeadLettersRequest, context: Context
    ) -> pb.ListDeadLettersResponse:
        async with _database(context):
            found = await self._queries.list(_selection(request), request.limit, request.before or None)
        return pb.ListDeadLettersResponse(letters=[self._letter(letter) for letter in found])

    async def GetDeadLetter(  # noqa: N802
        self, request: pb.GetDeadLetterRequest, context: Context
    ) -> pb.GetDeadLetterResponse:
        scope = request.scope
        wanted = Selection(organization=scope.organization_id, store=scope.store_id or None, ids=(request.id,))
        async with _database(context):
            found = await self._queries.get(wanted)
        if found is None:
            return pb.GetDeadLetterResponse()
        letter, event, stack = found
        installation = self._directory.get(letter.installation_id)
        return pb.GetDeadLetterResponse(
            letter=self._letter(letter),
            payload=redacted(event, installation),
            stack=stack if installation is not None else "",
            event_time=event.time,
        )

    async def ReplayDeadLetters(  # noqa: N802
        self, request: pb.ReplayDeadLettersRequest, context: Context
    ) -> pb.ReplayDeadLettersResponse:
        wanted = _selection(request)
        installations = [each.id for each in self._directory if each.organization_id == wanted.organization]
        async with _database(context):
            if request.dry_run:
                taken = await self._queries.count(wanted, installations)
            else:
                taken = await self._queries.replay(wanted, installations, request.replay_id)
        return pb.ReplayDeadLettersResponse(total=taken.total, left=taken.left, gone=taken.gone)

    async def DiscardDeadLetters(  # noqa: N802
        self, request: pb.DiscardDeadLettersRequest, context: Context
    ) -> pb.DiscardDeadLettersResponse:
        wanted = _selection(request)
        async with _database(context):
            taken = await (self._queries.count_all(wanted) if request.dry_run else self._queries.discard(wanted))
        return pb.DiscardDeadLettersResponse(total=taken.total, left=taken.left)

    async def GetReplay(self, request: pb.GetReplayRequest, context: Context) -> pb.GetReplayResponse:  # noqa: N802
        scope = request.scope
        async with _database(context):
            found = await self._queries.progress(scope.organization_id, scope.store_id or None, request.replay_id)
        return pb.GetReplayResponse(
            total=found.total,
            waiting=found.waiting,
            succeeded=found.succeeded,
            dead=found.dead,
            discarded=found.discarded,
        )

    def _letter(self, letter: DeadLetter) -> pb.DeadLetter:
        """What the plugin said may repeat what it saw: of one that is gone, nobody may see that any more."""
        installed = self._directory.get(letter.installation_id) is not None
        answer = pb.DeadLetter(
            id=letter.id,
            installation_id=letter.installation_id,
            plugin_id=letter.plugin_id,
            version=letter.version,
            store_id=letter.store_id,
            event_type=letter.event_type,
            event_source=letter.event_source,
            event_id=letter.event_id,
            attempts=letter.attempts,
            code=letter.code,
            message=letter.message if installed else "",
            replay_id=letter.replay_id or "",
        )
        answer.failed_at.FromDatetime(letter.failed_at)
        return answer


def redacted(event: DomainEvent, installation: Installation | None) -> bytes:
    """The payload as the installation may see it now; empty when it cannot be told what of it is personal.

    Without an installation nobody is granted anything: nothing personal is left, and nothing that may be.
    """
    if installation is not None:
        return without(hidden_from(installation.at(event.store).grants), event).data
    if event.type.partition(".")[0] not in ENTITIES:
        return b""
    return without(frozenset(KINDS), event).data


def _selection(
    request: pb.ListDeadLettersRequest | pb.ReplayDeadLettersRequest | pb.DiscardDeadLettersRequest,
) -> Selection:
    scope, asked = request.scope, request.filter
    return Selection(
        organization=scope.organization_id,
        store=scope.store_id or None,
        plugin_id=asked.plugin_id or None,
        version=asked.version or None,
        installation_id=asked.installation_id or None,
        event_type=asked.event_type or None,
        code=asked.code or None,
        message_part=asked.message_part or None,
        since=asked.since.ToDatetime(UTC) if asked.HasField("since") else None,
        until=asked.until.ToDatetime(UTC) if asked.HasField("until") else None,
        ids=tuple(asked.ids) or None,
    )


@asynccontextmanager
async def _database(context: Context) -> AsyncIterator[None]:
    """A database that is away is no answer: the caller may try again, here or at another worker."""
    try:
        yield
    except DATABASE_ERRORS as error:
        if not is_transient(error):
            raise
        await context.abort(grpc.StatusCode.UNAVAILABLE, "the database is away")
