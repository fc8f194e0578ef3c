"""Calling a worker: the gRPC adapter of everybody who needs a plugin run. No protobuf leaves this module."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, TypeVar, cast

import grpc.aio

from proto import runtime_pb2 as pb
from proto.runtime_pb2_grpc import PluginRuntimeStub
from services.common.directory import Installation, encode_installation
from services.common.errors import NotFound
from services.common.tracing import OFF, Tracing
from services.common.worker_channels import Metadata, WorkerChannels
from services.common.workers import WorkerSource, preferred

if TYPE_CHECKING:
    from proto.runtime_pb2_grpc import PluginRuntimeAsyncStub

Answer = TypeVar("Answer")
Parts: TypeAlias = "grpc.aio.UnaryStreamCall[Any, pb.ExportPart]"


class PluginFailed(Exception):
    """The plugin itself failed. ``code`` is one of the plugin_* codes; ``stack`` is for its author only."""

    source: ClassVar[Literal["plugin", "platform"]] = "plugin"

    def __init__(self, code: str, message: str, stack: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.stack = stack


PACKAGE_UNTRUSTED = "package_untrusted"
"""The package is not what its publisher signed."""
PLUGIN_REVOKED = "plugin_revoked"
"""A reviewer has stopped this version everywhere."""


class PlatformRefusal(PluginFailed):
    """The platform will not run the plugin's code, and trying again does not help: ``code`` is one of REFUSALS."""

    source = "platform"


REFUSALS = frozenset({PACKAGE_UNTRUSTED, PLUGIN_REVOKED})


class LifecycleHook(Enum):
    """The hooks of an installation's life; the value is the name the manifest uses."""

    ON_INSTALL = "onInstall"
    ON_ACTIVATE = "onActivate"
    ON_DEACTIVATE = "onDeactivate"
    ON_UNINSTALL = "onUninstall"
    ON_UPDATE = "onUpdate"


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


class StoredData(Enum):
    """What becomes of what an installation stored when it is uninstalled."""

    DROP = "drop"
    KEEP = "keep"
    EXPORT = "export"


@dataclass(frozen=True, slots=True)
class RetainedData:
    """What an installation left; ``retained_at`` and ``expires_at`` are RFC 3339."""

    installation_id: str
    plugin_id: str
    version: str
    store_id: str | None
    stored_data: StoredData
    retained_at: str
    expires_at: str


class RuntimeClient:
    """Runs plugins on live workers: the preferred one first, the next when one cannot be reached."""

    def __init__(self, workers: WorkerSource, tracing: Tracing = OFF) -> None:
        self._channels = WorkerChannels(workers, tracing)

    async def close(self) -> None:
        await self._channels.close()

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
            call.installation.organization_id,
            call.installation.plugin_id,
            lambda stub, metadata: stub.CallRoute(request, timeout=deadline, metadata=metadata),
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
        stored_data: StoredData | None = None,
        discard_backlog: bool = False,
        from_version: str = "",
        from_digest: str = "",
    ) -> bytes | None:
        """Run one lifecycle hook; the whole new configuration as JSON when the hook changed it, else None.

        ``stored_data`` is for ON_UNINSTALL; None: as was asked at the last attempt, else it is dropped.
        ``discard_backlog``, for ON_ACTIVATE and ON_DEACTIVATE: events that wait are not run any more.
        ``from_version`` and ``from_digest``, for ON_UPDATE: what the installation had; ``installation`` says what it is
        to be.

        Raises PluginFailed, GatewayTimeout, or Unavailable (code ``no_worker``: the hook did not run).
        """
        request = pb.RunLifecycleHookRequest(
            operation_id=operation_id,
            hook=getattr(pb, f"LIFECYCLE_HOOK_{hook.name}"),
            installation=encode_installation(installation),
            ignore_failure=ignore_failure,
            discard_backlog=discard_backlog,
            from_version=from_version,
            from_digest=from_digest,
            stored_data=getattr(pb, f"STORED_DATA_{stored_data.name if stored_data else 'UNSPECIFIED'}"),
        )
        response: pb.RunLifecycleHookResponse = await self._on_a_worker(
            installation.organization_id,
            installation.plugin_id,
            lambda stub, metadata: stub.RunLifecycleHook(request, timeout=deadline, metadata=metadata),
        )
        if response.HasField("failure"):
            raise _failure(response.failure)
        return response.config if response.HasField("config") else None

    async def retained_data(self, organization: str, store: str | None, *, deadline: float) -> list[RetainedData]:
        """What installations of an organization, or of one of its stores, left. Raises as :meth:`call_route`."""
        request = pb.ListRetainedDataRequest(organization_id=organization, store_id=store or "")
        response: pb.ListRetainedDataResponse = await self._on_a_worker(
            organization,
            "",
            lambda stub, metadata: stub.ListRetainedData(request, timeout=deadline, metadata=metadata),
        )
        return [_retained(item) for item in response.items]

    async def export_retained_data(
        self, installation_id: str, organization: str, store: str | None, *, deadline: float
    ) -> AsyncIterator[bytes]:
        """What one installation left, as JSON Lines, in parts; ``deadline`` is for all of it.

        Raises NotFound, Unavailable (``no_worker``: none, or all send as many as they may) or GatewayTimeout. What
        fails once the parts have begun raises grpc.aio.AioRpcError.
        """
        request = pb.ExportRetainedDataRequest(
            installation_id=installation_id, organization_id=organization, store_id=store or ""
        )
        try:
            first, call = await self._on_a_worker(
                organization,
                "",
                lambda stub, metadata: _begun(stub.ExportRetainedData(request, timeout=deadline, metadata=metadata)),
            )
        except NotFound as error:
            raise NotFound("Nothing is left of this installation.", code="retained_data_not_found") from error
        return _data(first, call)

    async def _on_a_worker(
        self,
        organization: str,
        plugin_id: str,
        call: "Callable[[PluginRuntimeAsyncStub, Metadata], Awaitable[Answer]]",
    ) -> Answer:
        return await self._channels.first_reached(
            lambda workers: preferred(workers, organization, plugin_id),
            lambda channel, metadata: call(PluginRuntimeStub(channel), metadata),
        )


async def _begun(call: "Parts") -> "tuple[pb.ExportPart, Parts]":
    """A stream whose first part has come, so that it will not fail for what can be known before."""
    return cast(pb.ExportPart, await call.read()), call


async def _data(first: pb.ExportPart, call: "Parts") -> AsyncIterator[bytes]:
    try:
        yield first.data
        while (part := await call.read()) is not grpc.aio.EOF:
            yield cast(pb.ExportPart, part).data
    finally:
        call.cancel()  # of no effect once it has ended


def _retained(item: pb.RetainedData) -> RetainedData:
    return RetainedData(
        installation_id=item.installation_id,
        plugin_id=item.plugin_id,
        version=item.version,
        store_id=item.store_id or None,
        stored_data=StoredData[pb.StoredData.Name(item.stored_data).removeprefix("STORED_DATA_")],
        retained_at=item.retained_at,
        expires_at=item.expires_at,
    )


def _failure(failure: pb.PluginFailure) -> PluginFailed:
    kind = PlatformRefusal if failure.code in REFUSALS else PluginFailed
    return kind(failure.code, failure.message, failure.stack)
