"""A worker for tests: a real gRPC server with a real lease, whose plugins do what the test says."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
from redis.asyncio import Redis

from proto import runtime_pb2 as pb
from proto import runtime_pb2_grpc as pb_grpc
from services.common.directory import Installation, decode_installation
from services.common.workers import Worker, WorkerLease

Behaviour = Callable[[str, Installation], Awaitable[pb.RunLifecycleHookResponse]]


def failure(message: str = "it broke", code: str = "plugin_raised") -> pb.RunLifecycleHookResponse:
    return pb.RunLifecycleHookResponse(
        failure=pb.PluginFailure(code=code, message=message, stack="Traceback: secret of the author")
    )


def answers(response: pb.RunLifecycleHookResponse) -> Behaviour:
    async def behave(_: str, __: Installation) -> pb.RunLifecycleHookResponse:
        return response

    return behave


def sets_config(config: Any) -> Behaviour:
    return answers(pb.RunLifecycleHookResponse(config=json.dumps(config).encode()))


SUCCEEDS = answers(pb.RunLifecycleHookResponse())
FAILS = answers(failure())


class FakeWorker(pb_grpc.PluginRuntimeServicer):
    """Answers lifecycle calls with ``behaviour``, and keeps what it was asked."""

    def __init__(self, redis: Redis) -> None:
        self.address = ""
        self.directory_revision = 0
        self.behaviour = SUCCEEDS
        self.calls: list[tuple[str, Installation]] = []
        self.requests: list[pb.RunLifecycleHookRequest] = []
        self.asked: list[pb.ListRetainedDataRequest | pb.ExportRetainedDataRequest] = []
        self.retained: list[pb.RetainedData] = []
        self.archive: list[bytes] = []
        self.no_archive = grpc.StatusCode.NOT_FOUND
        self.lease = WorkerLease(redis, self.describe)

    @property
    def hooks(self) -> list[str]:
        return [hook for hook, _ in self.calls]

    async def RunLifecycleHook(  # noqa: N802
        self, request: pb.RunLifecycleHookRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> pb.RunLifecycleHookResponse:
        hook = pb.LifecycleHook.Name(request.hook).removeprefix("LIFECYCLE_HOOK_")
        installation = decode_installation(request.installation)
        self.requests.append(request)
        self.calls.append((hook, installation))
        return await self.behaviour(hook, installation)

    async def CallRoute(  # noqa: N802
        self, request: pb.CallRouteRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> pb.CallRouteResponse:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "the registry calls no routes")

    async def ListRetainedData(  # noqa: N802
        self, request: pb.ListRetainedDataRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> pb.ListRetainedDataResponse:
        self.asked.append(request)
        return pb.ListRetainedDataResponse(items=self.retained)

    async def ExportRetainedData(  # noqa: N802
        self, request: pb.ExportRetainedDataRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> AsyncIterator[pb.ExportPart]:
        self.asked.append(request)
        if not self.archive:
            await context.abort(self.no_archive, "no archive")
        for part in self.archive:
            yield pb.ExportPart(data=part)

    def describe(self) -> Worker:
        return Worker(
            id=f"fake-{self.address}",
            address=self.address,
            directory_revision=self.directory_revision,
            sandbox_tier="B",
        )


@asynccontextmanager
async def running_worker(redis_url: str) -> AsyncIterator[FakeWorker]:
    """A worker that listens and holds a lease until the block ends."""
    redis = Redis.from_url(redis_url)
    worker = FakeWorker(redis)
    server = grpc.aio.server()
    pb_grpc.add_PluginRuntimeServicer_to_server(worker, server)
    worker.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    await worker.lease.renew()
    renewing = asyncio.create_task(worker.lease.run())
    try:
        yield worker
    finally:
        renewing.cancel()
        await asyncio.gather(renewing, return_exceptions=True)
        await redis.aclose()
        await server.stop(None)
