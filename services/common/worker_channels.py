"""gRPC channels to the workers that are alive, and a call that goes to the next one when one cannot be reached."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias, TypeVar

import grpc
import grpc.aio
import structlog

from services.common.errors import BadGateway, Conflict, GatewayTimeout, NotFound, Unavailable
from services.common.telemetry import current_request_id
from services.common.tracing import OFF, Tracing
from services.common.tracing.rpc import ClientSpans
from services.common.workers import Worker, WorkerSource

log = structlog.get_logger(__name__)

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
REQUEST_ID_METADATA = "x-request-id"

Answer = TypeVar("Answer")
Metadata: TypeAlias = tuple[tuple[str, str], ...]


class WorkerChannels:
    """Opens a channel per worker when it is first needed, and keeps it."""

    def __init__(self, workers: WorkerSource, tracing: Tracing = OFF) -> None:
        self._workers = workers
        self._interceptors = [ClientSpans(tracing)] if tracing.on else None
        self._channels: dict[str, grpc.aio.Channel] = {}

    async def close(self) -> None:
        for channel in self._channels.values():
            await channel.close()
        self._channels.clear()

    async def first_reached(
        self,
        order: Callable[[list[Worker]], list[Worker]],
        call: Callable[[grpc.aio.Channel, Metadata], Awaitable[Answer]],
    ) -> Answer:
        """The answer of the first worker in this order that can be reached; ``call`` may be made more than once.

        Raises GatewayTimeout, NotFound, Conflict, BadGateway, or Unavailable (code ``no_worker``).
        """
        metadata = ((REQUEST_ID_METADATA, current_request_id()),)
        for worker in order(await self._workers.live()):
            try:
                return await call(self._channel(worker.address), metadata)
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                    raise GatewayTimeout("The worker did not answer in time.", code="deadline_exceeded") from error
                if error.code() is grpc.StatusCode.NOT_FOUND:
                    raise NotFound("The plugin is not installed here.", code="not_installed") from error
                if error.code() is grpc.StatusCode.FAILED_PRECONDITION:
                    raise Conflict(f"The plugin cannot be called: {error.details()}.", code="not_active") from error
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise BadGateway(
                        f"The worker failed: {error.code().name}.",
                        code="worker_failed",
                        remedy="Try again; report it with the request id when it stays.",
                    ) from error
                log.warning("worker cannot be reached, trying the next", worker=worker.id, reason=error.details())
        raise Unavailable("No worker is alive to run plugins.", code="no_worker")

    def _channel(self, address: str) -> grpc.aio.Channel:
        if address not in self._channels:
            self._channels[address] = grpc.aio.insecure_channel(
                address,
                options=[
                    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
                    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
                    ("grpc.enable_http_proxy", 0),
                    ("grpc.max_reconnect_backoff_ms", 1000),
                ],
                interceptors=self._interceptors,
            )
        return self._channels[address]
