"""The worker's gRPC door, over a real connection."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import asyncpg
import grpc
import grpc.aio
import msgspec
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from outlet._calls import RouteResult
from outlet.local.network import free_port
from proto import runtime_pb2 as pb
from proto.runtime_pb2_grpc import PluginRuntimeStub
from services.common.directory import Directory, Installation, Variant, encode_installation
from services.common.runtime_client import PluginFailed
from services.runtime.dead_letter_server import DeadLetterService
from services.runtime.delivery.dead_letter_queries import DeadLetterQueries
from services.runtime.invoker import Invoker
from services.runtime.plugin_api.errors import ApiRefusal
from services.runtime.retention.retention import Retention
from services.runtime.sandbox import GuestCall
from services.runtime.server import SERVICE, GrpcServer, PluginRuntime
from tests.runtime.installations import installation
from tests.runtime.resources import resources
from tests.runtime.scripted import Api, ScriptedSandbox, raising, route_result

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"


class Failures:
    """Counts nothing but failures."""

    def __init__(self) -> None:
        self.codes: list[str] = []

    def api_called(self, _: Installation) -> None:
        return None

    def route_called(self, _: Installation, __: str, ___: str | None, seconds: float) -> None:
        return None

    def failed(self, _: Installation, __: str, failure: PluginFailed, *, store: str | None) -> None:
        self.codes.append(failure.code)


@dataclass
class Worker:
    directory: Directory
    sandbox: ScriptedSandbox
    failures: Failures
    server: GrpcServer
    channel: grpc.aio.Channel

    def script(self, script: Any) -> None:
        self.sandbox._script = script

    def install(self, **facts: Any) -> Installation:
        variants = facts.pop("variants", ())
        found = msgspec.structs.replace(installation(**facts), variants=variants)
        self.directory.put(found)
        self.directory.advance(found.revision)
        return found

    async def call(self, found: Installation, **changes: Any) -> pb.CallRouteResponse:
        caller = pb.Caller(subject="u", organization_id=changes.pop("organization", "acme"), role="cashier")
        caller.store_id = changes.pop("store", "")
        facts = {"call_id": uuid.uuid4().hex, "installation_id": found.id, "revision": found.revision, **changes}
        request = pb.CallRouteRequest(method="GET", path="/points/1", caller=caller, **facts)
        return await PluginRuntimeStub(self.channel).CallRoute(request, timeout=20)

    async def run_hook(self, found: Installation, **changes: Any) -> pb.RunLifecycleHookResponse:
        facts: dict[str, Any] = {
            "operation_id": uuid.uuid4().hex,
            "hook": pb.LIFECYCLE_HOOK_ON_INSTALL,
            "installation": encode_installation(found),
        }
        request = pb.RunLifecycleHookRequest(**{**facts, **changes})
        return await PluginRuntimeStub(self.channel).RunLifecycleHook(request, timeout=20)

    async def health(self, service: str = SERVICE) -> int:
        request = health_pb2.HealthCheckRequest(service=service)
        answer = await health_pb2_grpc.HealthStub(self.channel).Check(request)
        status: int = answer.status
        return status


async def answer(_: Api, __: GuestCall) -> bytes | None:
    return route_result(201)


@pytest.fixture
async def worker(runtime_pool: Pool) -> AsyncIterator[Worker]:
    directory, failures, sandbox = Directory(), Failures(), ScriptedSandbox(answer)
    reporter: Any = failures
    invoker = Invoker(runtime_pool, sandbox, resources(), reporter)  # type: ignore[arg-type]
    runtime = PluginRuntime(
        directory, invoker, reporter, Retention(runtime_pool, days=30), route_deadline=5, lifecycle_deadline=5
    )
    address = f"127.0.0.1:{free_port()}"
    server = GrpcServer(address, runtime, DeadLetterService(directory, DeadLetterQueries(runtime_pool)), "B")
    async with server.serving(), grpc.aio.insecure_channel(address) as channel:
        yield Worker(directory, sandbox, failures, server, channel)


async def status_of(call: Any) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return error.value.code()


async def test_a_route_is_answered(worker: Worker) -> None:
    response = await worker.call(worker.install())
    assert (response.WhichOneof("result"), response.reply.status) == ("reply", 201)


async def test_a_route_runs_with_what_is_in_effect_in_the_callers_store(worker: Worker) -> None:
    tried: list[tuple[Any, str]] = []

    async def notify(api: Api, call: GuestCall) -> bytes | None:
        facts = msgspec.msgpack.decode(call.scope.payload)
        try:
            await api("notices.send", {"user": "u", "title": "t", "message": "hello"})
        except ApiRefusal as refusal:
            tried.append((facts["config"]["rate"], refusal.code))
        else:
            tried.append((facts["config"]["rate"], "sent"))
        return route_result()

    worker.script(notify)
    withheld = Variant(place="store:s2", stores=("s2",), config={"rate": 2}, grants=())
    found = worker.install(config={"rate": 1}, grants=("notify:send",), variants=(withheld,))
    for store in ("s1", "s2", "s1", ""):
        await worker.call(found, store=store)
    assert tried == [(1, "sent"), (2, "permission_denied"), (1, "sent"), (1, "sent")]


async def test_a_plugins_failure_is_an_answer_and_is_reported(worker: Worker) -> None:
    worker.script(raising)
    response = await worker.call(worker.install())
    assert (response.failure.code, response.failure.stack) == ("plugin_raised", "Traceback ...")
    assert worker.failures.codes == ["plugin_raised"]


async def test_another_organizations_installation_does_not_exist(worker: Worker) -> None:
    found = worker.install()
    assert await status_of(worker.call(found, organization="globex")) is grpc.StatusCode.NOT_FOUND
    assert worker.sandbox.calls == []


async def test_what_is_not_active_is_not_called(worker: Worker) -> None:
    found = worker.install(status="inactive")
    assert await status_of(worker.call(found)) is grpc.StatusCode.FAILED_PRECONDITION


async def test_a_worker_waits_until_it_knows_what_the_caller_knows(worker: Worker) -> None:
    known = worker.install(revision=1)
    calling = asyncio.create_task(worker.call(known, revision=2))
    worker.directory.put(msgspec.structs.replace(known, revision=2))
    worker.directory.advance(2)
    assert (await calling).reply.status == 201
    assert await status_of(worker.call(known, revision=99)) is grpc.StatusCode.UNAVAILABLE


async def test_a_lifecycle_hook_runs_on_the_installation_that_the_registry_sends(worker: Worker) -> None:
    async def configure(api: Api, call: GuestCall) -> bytes | None:
        assert (call.kind, call.target) == ("lifecycle", "onInstall")
        await api("config.set", {"key": "a", "value": 1})
        return None

    worker.script(configure)
    response = await worker.run_hook(installation(status="installing"))
    assert (response.HasField("failure"), response.config) == (False, b'{"a":1}')
    worker.script(raising)
    failed = await worker.run_hook(installation(status="installing"))
    assert (failed.failure.code, failed.HasField("config")) == ("plugin_raised", False)


async def test_a_failing_uninstall_can_be_overruled(worker: Worker) -> None:
    worker.script(raising)
    request = {"hook": pb.LIFECYCLE_HOOK_ON_UNINSTALL}
    assert (await worker.run_hook(installation(), **request)).HasField("failure")
    assert not (await worker.run_hook(installation(), **request, ignore_failure=True)).HasField("failure")


@pytest.mark.parametrize("changes", [{"installation": b"rubbish"}, {"hook": pb.LIFECYCLE_HOOK_UNSPECIFIED}])
async def test_an_unreadable_lifecycle_request_is_refused(worker: Worker, changes: dict[str, Any]) -> None:
    assert await status_of(worker.run_hook(installation(), **changes)) is grpc.StatusCode.INVALID_ARGUMENT


async def test_health_says_when_the_worker_serves_and_reflection_says_what(worker: Worker) -> None:
    assert await worker.health() == health_pb2.HealthCheckResponse.NOT_SERVING
    await worker.server.ready()
    assert await worker.health() == health_pb2.HealthCheckResponse.SERVING
    stub = reflection_pb2_grpc.ServerReflectionStub(worker.channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    answers = [one async for one in stub.ServerReflectionInfo(iter([request]))]
    assert SERVICE in {service.name for service in answers[0].list_services_response.service}


async def test_health_knows_the_tier_of_the_sandbox_and_what_it_is_not_below(worker: Worker) -> None:
    known = {tier: await worker.health(f"outlet.sandbox.tier.{tier}") for tier in "ABCD"}
    held, missing = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
    assert known == {"A": missing, "B": held, "C": held, "D": held}
    assert await status_of(worker.health("outlet.sandbox.tier.E")) is grpc.StatusCode.NOT_FOUND


async def test_what_is_left_of_the_api_calls_comes_with_the_answer_and_cannot_be_forged(worker: Worker) -> None:
    async def forge(_: Api, __: GuestCall) -> bytes | None:
        return msgspec.msgpack.encode(RouteResult(200, [("RateLimit-Limit", "1"), ("etag", "x")], b""))

    worker.script(forge)
    reply = (await worker.call(worker.install())).reply
    assert [(header.name, header.value) for header in reply.headers] == [
        ("etag", "x"),
        ("ratelimit-limit", "100"),
        ("ratelimit-remaining", "99"),
        ("ratelimit-reset", "1"),
    ]


async def test_an_update_is_told_the_former_version_and_runs_as_the_new_one(worker: Worker) -> None:
    found = worker.install(digest="sha256:11")
    await worker.run_hook(found, hook=pb.LIFECYCLE_HOOK_ON_UPDATE, from_version="0.9.0")
    ((call, _),) = worker.sandbox.calls
    assert (call.target, msgspec.msgpack.decode(call.payload)) == ("onUpdate", ["0.9.0"])


async def test_a_route_of_an_installation_that_is_updated_is_for_later(worker: Worker) -> None:
    found = worker.install(updating=True)
    assert await status_of(worker.call(found)) is grpc.StatusCode.UNAVAILABLE
    assert worker.sandbox.calls == []


async def test_a_revoked_plugin_is_deactivated_and_removed_without_its_code(worker: Worker) -> None:
    found = worker.install(revoked="it is bad", status="error")
    for hook in (pb.LIFECYCLE_HOOK_ON_DEACTIVATE, pb.LIFECYCLE_HOOK_ON_UNINSTALL):
        response = await worker.run_hook(found, hook=hook, discard_backlog=True)
        assert not response.HasField("failure")
    assert worker.sandbox.calls == []
