"""Asking a worker about dead letters: the gRPC adapter of the gateway. No protobuf leaves this module."""

import random
from datetime import UTC

from proto import runtime_pb2 as pb
from proto.runtime_pb2_grpc import DeadLettersStub
from services.common.dead_letters import DeadLetter, OpenedLetter, ReplayProgress, Selection, Taken
from services.common.worker_channels import WorkerChannels
from services.common.workers import Worker

ASK_SECONDS = 10.0
CHANGE_SECONDS = 60.0
"""For as many letters as one request takes."""


class DeadLetterClient:
    """All methods raise Unavailable (``no_worker``), GatewayTimeout or BadGateway. Any worker answers for all."""

    def __init__(self, channels: WorkerChannels) -> None:
        self._channels = channels

    async def list(self, wanted: Selection, limit: int, before: int | None) -> list[DeadLetter]:
        """At most ``limit`` letters, the newest first, with ids below ``before``."""
        request = pb.ListDeadLettersRequest(
            scope=_scope(wanted.organization, wanted.store), filter=_filter(wanted), limit=limit, before=before or 0
        )
        response: pb.ListDeadLettersResponse = await self._channels.first_reached(
            _any_order,
            lambda channel, metadata: DeadLettersStub(channel).ListDeadLetters(
                request, timeout=ASK_SECONDS, metadata=metadata
            ),
        )
        return [_letter(letter) for letter in response.letters]

    async def get(self, organization: str, store: str | None, letter_id: int) -> OpenedLetter | None:
        """One letter and what it holds; None when there is none in this organization and store."""
        request = pb.GetDeadLetterRequest(scope=_scope(organization, store), id=letter_id)
        response: pb.GetDeadLetterResponse = await self._channels.first_reached(
            _any_order,
            lambda channel, metadata: DeadLettersStub(channel).GetDeadLetter(
                request, timeout=ASK_SECONDS, metadata=metadata
            ),
        )
        if not response.HasField("letter"):
            return None
        return OpenedLetter(
            letter=_letter(response.letter),
            payload=response.payload,
            stack=response.stack,
            event_time=response.event_time,
        )

    async def replay(self, wanted: Selection, replay_id: str, *, dry_run: bool) -> Taken:
        """Have letters tried again. With the same ``replay_id`` it goes on where it was, at another worker too."""
        request = pb.ReplayDeadLettersRequest(
            scope=_scope(wanted.organization, wanted.store),
            filter=_filter(wanted),
            replay_id=replay_id,
            dry_run=dry_run,
        )
        response: pb.ReplayDeadLettersResponse = await self._channels.first_reached(
            _any_order,
            lambda channel, metadata: DeadLettersStub(channel).ReplayDeadLetters(
                request, timeout=CHANGE_SECONDS, metadata=metadata
            ),
        )
        return Taken(total=response.total, left=response.left, gone=response.gone)

    async def discard(self, wanted: Selection, *, dry_run: bool) -> Taken:
        """Give letters up."""
        request = pb.DiscardDeadLettersRequest(
            scope=_scope(wanted.organization, wanted.store), filter=_filter(wanted), dry_run=dry_run
        )
        response: pb.DiscardDeadLettersResponse = await self._channels.first_reached(
            _any_order,
            lambda channel, metadata: DeadLettersStub(channel).DiscardDeadLetters(
                request, timeout=CHANGE_SECONDS, metadata=metadata
            ),
        )
        return Taken(total=response.total, left=response.left)

    async def replay_progress(self, organization: str, store: str | None, replay_id: str) -> ReplayProgress | None:
        """How far a replay is; None when no letter of this organization and store is in it."""
        request = pb.GetReplayRequest(scope=_scope(organization, store), replay_id=replay_id)
        response: pb.GetReplayResponse = await self._channels.first_reached(
            _any_order,
            lambda channel, metadata: DeadLettersStub(channel).GetReplay(
                request, timeout=ASK_SECONDS, metadata=metadata
            ),
        )
        if response.total == 0:
            return None
        return ReplayProgress(
            total=response.total,
            waiting=response.waiting,
            succeeded=response.succeeded,
            dead=response.dead,
            discarded=response.discarded,
        )


def _any_order(workers: list[Worker]) -> list[Worker]:
    return random.sample(workers, len(workers))


def _scope(organization: str, store: str | None) -> pb.DeadLetterScope:
    return pb.DeadLetterScope(organization_id=organization, store_id=store or "")


def _filter(wanted: Selection) -> pb.DeadLetterFilter:
    asked = pb.DeadLetterFilter(
        plugin_id=wanted.plugin_id or "",
        version=wanted.version or "",
        installation_id=wanted.installation_id or "",
        event_type=wanted.event_type or "",
        code=wanted.code or "",
        message_part=wanted.message_part or "",
        ids=wanted.ids or (),
    )
    if wanted.since is not None:
        asked.since.FromDatetime(wanted.since)
    if wanted.until is not None:
        asked.until.FromDatetime(wanted.until)
    return asked


def _letter(letter: pb.DeadLetter) -> DeadLetter:
    return DeadLetter(
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
        message=letter.message,
        failed_at=letter.failed_at.ToDatetime(UTC),
        replay_id=letter.replay_id or None,
    )
