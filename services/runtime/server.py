"""The gRPC adapter of the runtime: protobuf comes in and goes out here, and nowhere else in this service."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any, TypeAlias

import grpc
import grpc.aio
import msgspec
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from outlet._calls import RouteResult
from outlet._frames import Tier
from proto import runtime_pb2 as pb
from proto import runtime_pb2_grpc as pb_grpc
from services.common.directory import Directory, Installation, decode_installation
from services.common.runtime_client import LifecycleHook, PluginFailed
from services.common.tracing import OFF, Tracing, current
from services.common.tracing.rpc import ServerSpans
from services.common.worker_channels import MAX_MESSAGE_BYTES
from services.runtime.invocation import Invocation
from services.runtime.invoker import Invoker
from services.runtime.reporting import Reporter
from services.runtime.retention.archive import NothingRetained
from services.runtime.retention.repository import Purpose
from services.runtime.retention.retention import ExportsBusy, Retention
from services.runtime.sandbox import (
    MEANING,
    RouteRequest,
    UpdateRequest,
    read_route_result,
    route_payload,
    suffices,
    update_payload,
)
from services.runtime.spans import calling

log = structlog.get_logger(__name__)

SERVICE = pb.DESCRIPTOR.services_by_name["PluginRuntime"].full_name
DEAD_LETTERS = pb.DESCRIPTOR.services_by_name["DeadLetters"].full_name
TIER_SERVICE = "outlet.sandbox.tier."
CATCH_UP_SECONDS = 2.0
STOP_GRACE_SECONDS = 3.0
RATE_LIMIT_PREFIX = "ratelimit-"

REQUESTS = "urn:outlet:requests"
OPERATIONS = "urn:outlet:operations"

PURPOSES: "dict[pb.StoredData.ValueType, Purpose]" = {
    pb.STORED_DATA_DROP: "drop",
    pb.STORED_DATA_KEEP: "keep",
    pb.STORED_DATA_EXPORT: "export",
}

Context: TypeAlias = "grpc.aio.ServicerContext[object, object]"


class PluginRuntime(pb_grpc.PluginRuntimeServicer):
    """Runs routes and lifecycle hooks for the gateway and the registry."""

    def __init__(
        self,
        directory: Directory,
        invoker: Invoker,
        reporter: Reporter,
        retention: Retention,
        *,
        route_deadline: float,
        lifecycle_deadline: float,
        tracing: Tracing = OFF,
    ) -> None:
        self._tracing = tracing
        self._directory = directory
        self._invoker = invoker
        self._reporter = reporter
        self._retention = retention
        self._route_deadline = route_deadline
        self._lifecycle_deadline = lifecycle_deadline

    async def CallRoute(self, request: pb.CallRouteRequest, context: Context) -> pb.CallRouteResponse:  # noqa: N802
        installed = await self._installation(request, context)
        store = request.caller.store_id or installed.store_id
        installation = installed.at(store)
        target = f"{request.method} {request.path}"
        invocation = Invocation(
            installation=installation,
            kind="route",
            target=target,
            source=REQUESTS,
            id=request.call_id,
            store=store,
            payload=route_payload(_route_request(request)),
            deadline=self._route_deadline,
        )
        try:
            result = read_route_result(await self._invoker.call(invocation))
        except PluginFailed as failure:
            return pb.CallRouteResponse(failure=_failure(failure))
        headers = [pb.Header(name=name, value=value) for name, value in self._headers(result, installation)]
        return pb.CallRouteResponse(reply=pb.RouteReply(status=result.status, headers=headers, body=result.body))

    async def RunLifecycleHook(  # noqa: N802
        self, request: pb.RunLifecycleHookRequest, context: Context
    ) -> pb.RunLifecycleHookResponse:
        try:
            installation = decode_installation(request.installation)
            hook = LifecycleHook[pb.LifecycleHook.Name(request.hook).removeprefix("LIFECYCLE_HOOK_")]
        except (msgspec.DecodeError, KeyError, ValueError) as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"the request cannot be read: {error}")
        if hook is LifecycleHook.ON_ACTIVATE:
            await self._retention.confirm(installation)
        if hook is LifecycleHook.ON_UNINSTALL and (purpose := PURPOSES.get(request.stored_data)) is not None:
            await self._retention.ask(installation, purpose)
        invocation = Invocation(
            installation=installation,
            kind="lifecycle",
            target=hook.value,
            source=OPERATIONS,
            id=request.operation_id,
            store=installation.store_id,
            payload=update_payload(UpdateRequest(request.from_version)) if hook is LifecycleHook.ON_UPDATE else b"",
            deadline=self._lifecycle_deadline,
            discards_backlog=request.discard_backlog,
            former_digest=request.from_digest,
        )
        followed = self._directory.get(installation.id)
        revoked = installation.revoked is not None or (followed is not None and followed.revoked is not None)
        if revoked and hook in (LifecycleHook.ON_DEACTIVATE, LifecycleHook.ON_UNINSTALL):
            await self._invoker.pass_over(invocation)
            return pb.RunLifecycleHookResponse()
        try:
            with calling(self._tracing, invocation, current()) as invocation:
                config = await self._invoker.run(invocation)
        except PluginFailed as failure:
            if not request.ignore_failure:
                return pb.RunLifecycleHookResponse(failure=_failure(failure))
            log.warning("lifecycle hook failed and was overruled", installation=installation.id, code=failure.code)
            await self._invoker.pass_over(invocation)
            return pb.RunLifecycleHookResponse()
        return pb.RunLifecycleHookResponse(config=config or None)

    async def ListRetainedData(  # noqa: N802
        self, request: pb.ListRetainedDataRequest, context: Context
    ) -> pb.ListRetainedDataResponse:
        found = await self._retention.listed(request.organization_id, request.store_id or None)
        return pb.ListRetainedDataResponse(items=[_retained(each) for each in found])

    async def ExportRetainedData(  # noqa: N802
        self, request: pb.ExportRetainedDataRequest, context: Context
    ) -> AsyncIterator[pb.ExportPart]:
        place = (request.installation_id, request.organization_id, request.store_id or None)
        try:
            async with aclosing(self._retention.export(*place)) as parts:
                async for part in parts:
                    yield pb.ExportPart(data=part)
        except NothingRetained:
            await context.abort(grpc.StatusCode.NOT_FOUND, "nothing is left of this installation")
        except ExportsBusy:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "this worker sends as many archives as it may")

    def _headers(self, result: RouteResult, installation: Installation) -> list[tuple[str, str]]:
        """The plugin's headers, and what is left of its API calls (draft-ietf-httpapi-ratelimit-headers-07)."""
        left = self._invoker.allowance(installation)
        own = [(name, value) for name, value in result.headers if not name.lower().startswith(RATE_LIMIT_PREFIX)]
        limits = {"limit": left.limit, "remaining": left.remaining, "reset": left.reset}
        return own + [(f"{RATE_LIMIT_PREFIX}{name}", str(value)) for name, value in limits.items()]

    async def _installation(self, request: pb.CallRouteRequest, context: Context) -> Installation:
        """What this worker's own directory says of the installation, at least as new as the caller's."""
        try:
            async with asyncio.timeout(CATCH_UP_SECONDS):
                await self._directory.reached(request.revision)
        except TimeoutError:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "this worker has not caught up with the directory")
        installation = self._directory.get(request.installation_id)
        if installation is None or installation.organization_id != request.caller.organization_id:
            await context.abort(grpc.StatusCode.NOT_FOUND, "the installation does not exist")
        if installation.updating:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the installation is being updated")
        if installation.status != "active":
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"the installation is {installation.status}")
        return installation


def _retained(found: dict[str, Any]) -> pb.RetainedData:
    return pb.RetainedData(
        installation_id=found["installation_id"],
        plugin_id=found["plugin_id"],
        version=found["version"],
        store_id=found["store_id"] or "",
        stored_data=next(number for number, purpose in PURPOSES.items() if purpose == found["purpose"]),
        retained_at=found["retained_at"].isoformat(),
        expires_at=found["expires_at"].isoformat(),
    )


def _route_request(request: pb.CallRouteRequest) -> RouteRequest:
    return RouteRequest(
        method=request.method,
        path=request.path,
        query=request.query,
        headers=[(header.name, header.value) for header in request.headers],
        body=request.body,
        subject=request.caller.subject,
        store=request.caller.store_id or None,
        role=request.caller.role,
    )


def _failure(failure: PluginFailed) -> pb.PluginFailure:
    return pb.PluginFailure(code=failure.code, message=failure.message, stack=failure.stack)


class GrpcServer:
    """The listening server with health (grpc.health.v1) and reflection.

    Health knows, beside the server and its service, a name for each tier of the sandbox (``outlet.sandbox.tier.B``):
    SERVING for the worker's own ``tier`` and for those below, whatever else the worker is ready for.
    """

    def __init__(
        self,
        address: str,
        runtime: PluginRuntime,
        dead_letters: pb_grpc.DeadLettersServicer,
        tier: Tier,
        tracing: Tracing = OFF,
    ) -> None:
        self._tier: Tier = tier
        self.is_ready = False
        """Whether the worker takes calls, as health says."""
        self._health = health.aio.HealthServicer()
        self._server = grpc.aio.server(
            interceptors=[ServerSpans(tracing)] if tracing.on else None,
            options=[
                ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
                ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
                ("grpc.so_reuseport", 0),
            ],
        )
        pb_grpc.add_PluginRuntimeServicer_to_server(runtime, self._server)
        pb_grpc.add_DeadLettersServicer_to_server(dead_letters, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        services = (SERVICE, DEAD_LETTERS, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(services, self._server)
        self._server.add_insecure_port(address)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Listen, NOT_SERVING until :meth:`ready`; on exit let running calls end for at most 3 s."""
        await self._set(False, "", SERVICE)
        for tier in MEANING:
            await self._set(suffices(self._tier, tier), f"{TIER_SERVICE}{tier}")
        await self._server.start()
        try:
            yield
        finally:
            self.is_ready = False
            await self._health.enter_graceful_shutdown()
            await self._server.stop(STOP_GRACE_SECONDS)

    async def ready(self) -> None:
        self.is_ready = True
        await self._set(True, "", SERVICE)

    async def _set(self, serving: bool, *services: str) -> None:
        known = health_pb2.HealthCheckResponse
        for service in services:
            await self._health.set(service, known.SERVING if serving else known.NOT_SERVING)
