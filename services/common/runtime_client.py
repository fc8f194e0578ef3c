"""Calling a worker: the gRPC adapter of everybody who needs a plugin run. No protobuf leaves this module."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, TypeVar

import grpc
import grpc.aio
import structlog

from proto import runtime_pb2 as pb
from proto.runtime_pb2_grpc import PluginRuntimeStub
from services.common.directory import Installation, encode_installation
from services.common.errors import BadGateway, Conflict, GatewayTimeout, NotFound, Unavailable
from services.common.telemetry import current_request_id
from services.common.workers import WorkerSource, preferred

if TYPE_CHECKING:
    from proto.runtime_pb2_grpc import PluginRuntimeAsyncStub

log = structlog.get_logger(__name__)

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
REQUEST_ID_METADATA = "x-request-id"

Answer = TypeVar("Answer")


class PluginFailed(Exception):
    """The plugin itself failed. ``code`` is one of the plugin_* codes; ``stack`` is for its author only."""

    def __init__(self, code: str, message: str, stack: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.stack = stack


class LifecycleHook(Enum):
    """The hooks of an installation's life; the value is the name the manifest uses."""

    ON_INSTALL = "onInstall"
    ON_ACTIVATE = "onActivate"
    ON_DEACTIVATE = "onDeactivate"
    ON_UNINSTALL = "onUninstall"


@dataclass(frozen=True, slots=True)
class RouteCaller:
    """On whose behalf a route is called, from the verified token."""

    subject: str
    organization: str
    store: str | None
    role: str


@dataclass(frozen=True, slots=True)
class RouteCall:
    """One request to a custom route. ``call_id`` is repeated when the call is tried on another worker."""

    call_id: str
    installation: Installation
    method: str
    path: str
    query: str
    headers: Sequence[tuple[str, str]]
    body: bytes
    caller: RouteCaller


@dataclass(frozen=True, slots=True)
class RouteReply:
    """What the plugin answered."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class RuntimeClient:
    """Runs plugins on live workers: the preferred one first, the next when one cannot be reached."""

    def __init__(self, workers: WorkerSource) -> None:
        self._workers = workers
        self._channels: dict[str, grpc.aio.Channel] = {}

    async def close(self) -> None:
        for channel in self._channels.values():
            await channel.close()
        self._channels.clear()

    async def call_route(self, call: RouteCall, *, deadline: float) -> RouteReply:
        """Call a custom route within ``deadline`` seconds.

        Raises PluginFailed, GatewayTimeout, NotFound, Conflict, or Unavailable (code ``no_worker``).
        """
        request = pb.CallRouteRequest(
            call_id=call.call_id,
            installation_id=call.installation.id,
            revision=call.installation.revision,
            method=call.method,
            path=call.path,
            query=call.query,
            headers=[pb.Header(name=name, value=value) for name, value in call.headers],
            body=call.body,
            caller=pb.Caller(
                subject=call.caller.subject,
                organization_id=call.caller.organization,
                store_id=call.caller.store or "",
                role=call.caller.role,
            ),
        )
        response: pb.CallRouteResponse = await self._on_a_worker(
            call.installation, lambda stub, metadata: stub.CallRoute(request, timeout=deadline, metadata=metadata)
        )
        if response.WhichOneof("result") == "failure":
            raise _failure(response.failure)
        reply = response.reply
        return RouteReply(reply.status, [(header.name, header.value) for header in reply.headers], reply.body)

    async def run_lifecycle_hook(
        self,
        installation: Installation,
        hook: LifecycleHook,
        *,
        operation_id: str,
        deadline: float,
        ignore_failure: bool = False,
    ) -> bytes | None:
        """Run one lifecycle hook; the whole new configuration as JSON when the hook changed it, else None.

        Raises PluginFailed, GatewayTimeout, or Unavailable (code ``no_worker``: the hook did not run).
        """
        request = pb.RunLifecycleHookRequest(
            operation_id=operation_id,
            hook=getattr(pb, f"LIFECYCLE_HOOK_{hook.name}"),
            installation=encode_installation(installation),
            ignore_failure=ignore_failure,
        )
        response: pb.RunLifecycleHookResponse = await self._on_a_worker(
            installation, lambda stub, metadata: stub.RunLifecycleHook(request, timeout=deadline, metadata=metadata)
        )
        if response.HasField("failure"):
            raise _failure(response.failure)
        return response.config if response.HasField("config") else None

    async def _on_a_worker(
        self,
        installation: Installation,
        call: "Callable[[PluginRuntimeAsyncStub, tuple[tuple[str, str], ...]], Awaitable[Answer]]",
    ) -> Answer:
        metadata = ((REQUEST_ID_METADATA, current_request_id()),)
        workers = await self._workers.live()
        for worker in preferred(workers, installation.organization_id, installation.plugin_id):
            try:
                return await call(PluginRuntimeStub(self._channel(worker.address)), metadata)
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
            )
        return self._channels[address]


def _failure(failure: pb.PluginFailure) -> PluginFailed:
    return PluginFailed(failure.code, failure.message, failure.stack)
