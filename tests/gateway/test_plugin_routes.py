"""Custom routes of plugins: who is called, what reaches the plugin, what leaves it."""

import asyncio
from typing import Any

import grpc
import httpx
import pytest
from redis.asyncio import Redis

from outlet.local.issuer import Issuer
from proto import runtime_pb2 as pb
from services.common.settings import IdentitySettings
from services.common.workers import Worker, WorkerLease, preferred
from services.gateway.app import build_app
from tests.gateway.conftest import BuildSettings, Organization
from tests.gateway.support import FakeWorker, RouteHandler, failure, reply, serving, status_of
from tests.support.directory import eventually

POINTS = "/api/plugins/loyalty-points/api/points/c-1"


@pytest.fixture
async def installed(organization: Organization, worker: FakeWorker) -> Organization:
    """An organization with an active plugin, known to a gateway that knows the worker."""
    await organization.install()
    async with organization.client() as client:

        async def served() -> bool:
            return (await client.get(POINTS)).status_code == 200

        await eventually(served)
    worker.forget()
    return organization


async def test_plugin_answers_for_the_callers_organization(installed: Organization, worker: FakeWorker) -> None:
    worker.answer = reply(201, b'{"points": 5}', content_type="application/json", etag='"a"')
    async with installed.client() as client:
        response = await client.post(f"{POINTS}/redeem?why=a%20gift&x=1", content=b'{"points": 5}')
    assert (response.status_code, response.json(), response.headers["ETag"]) == (201, {"points": 5}, '"a"')
    [request] = worker.requests
    assert (request.method, request.path, request.query) == ("POST", "/points/c-1/redeem", "why=a%20gift&x=1")
    assert (request.body, request.revision) == (b'{"points": 5}', 1)
    assert (request.caller.organization_id, request.caller.role) == (installed.name, "cashier")
    assert (request.caller.subject, request.caller.store_id) == (f"cashier@{installed.name}", "")
    assert request.call_id


async def test_path_reaches_the_plugin_decoded(installed: Organization, worker: FakeWorker) -> None:
    async with installed.client() as client:
        await client.get("/api/plugins/loyalty-points/api/points/caf%C3%A9%20%2541")
    assert worker.requests[0].path == "/points/café %41"


async def test_no_credential_reaches_the_plugin(installed: Organization, worker: FakeWorker) -> None:
    sent = {
        "Cookie": "session=1",
        "Proxy-Authorization": "Basic x",
        "X-Forwarded-For": "10.0.0.1",
        "X-Api-Key": "secret",
        "Connection": "X-Smuggled",
        "X-Smuggled": "1",
        "Content-Type": "application/json",
        "Idempotency-Key": "k-1",
    }
    async with installed.client() as client:
        await client.post(POINTS, content=b"{}", headers=sent)
    seen = {header.name: header.value for header in worker.requests[0].headers}
    assert seen.keys() == {"accept", "user-agent", "content-type", "idempotency-key"}


async def test_plugin_cannot_set_cookies_policies_or_foreign_redirects(
    installed: Organization, worker: FakeWorker
) -> None:
    worker.answer = reply(
        303,
        b"<script>",
        content_type="text/html",
        set_cookie="session=1",
        connection="close",
        transfer_encoding="chunked",
        content_length="3",
        access_control_allow_origin="*",
        content_security_policy="default-src *",
        www_authenticate="Basic",
        x_request_id="forged-request",
        location="https://evil.example/",
    )
    async with installed.client() as client:
        response = await client.get(POINTS)
        worker.answer = reply(303, location="/api/plugins/loyalty-points/api/points/c-2")
        moved = await client.get(POINTS)
    assert (response.status_code, response.content) == (303, b"<script>")
    refused = {"set-cookie", "transfer-encoding", "access-control-allow-origin", "www-authenticate", "location"}
    assert not refused & set(response.headers.keys())
    assert response.headers.get_list("Content-Security-Policy") == [
        "default-src 'none'; frame-ancestors 'none'; sandbox"
    ]
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Content-Length"] == "8"
    assert response.headers["X-Request-Id"] != "forged-request"
    assert moved.headers["Location"] == "/api/plugins/loyalty-points/api/points/c-2"


@pytest.mark.parametrize("location", ["//evil.example", "/\\evil.example", "\\\\evil.example", "javascript:alert(1)"])
async def test_redirect_that_leaves_the_site_is_dropped(
    installed: Organization, worker: FakeWorker, location: str
) -> None:
    worker.answer = reply(302, location=location)
    async with installed.client() as client:
        assert "Location" not in (await client.get(POINTS)).headers


@pytest.mark.parametrize(
    "answer",
    [
        reply(0),
        reply(99),
        reply(101),
        reply(600),
        reply(-1),
        reply(200, etag="a\r\nSet-Cookie: session=1"),
        reply(200, etag="€"),
    ],
)
async def test_answer_that_http_cannot_carry_is_the_plugins_failure(
    installed: Organization, worker: FakeWorker, answer: RouteHandler
) -> None:
    worker.answer = answer
    async with installed.client() as client:
        response = await client.get(POINTS)
    assert (response.status_code, response.json()["code"]) == (502, "plugin_failed")
    assert response.json()["pluginCode"] == "plugin_bad_result"


@pytest.mark.parametrize("status", [204, 205, 304])
async def test_answer_without_content_has_none(installed: Organization, worker: FakeWorker, status: int) -> None:
    worker.answer = reply(status, b"not allowed here")
    async with installed.client() as client:
        assert (await client.get(POINTS)).content == b""
        assert (await client.get(POINTS)).status_code == status


async def test_failed_plugin_is_named_and_its_traceback_kept_back(installed: Organization, worker: FakeWorker) -> None:
    worker.answer = failure("plugin_raised")
    async with installed.client() as client:
        response = await client.get(POINTS)
    problem = response.json()
    assert (response.status_code, problem["code"], problem["source"]) == (502, "plugin_failed", "plugin")
    assert (problem["pluginCode"], problem["pluginId"]) == ("plugin_raised", "loyalty-points")
    assert "secret" not in response.text


async def test_plugin_that_is_too_slow_is_a_timeout(installed: Organization, worker: FakeWorker) -> None:
    worker.answer = failure("plugin_timeout")
    async with installed.client() as client:
        response = await client.get(POINTS)
    assert (response.status_code, response.json()["code"]) == (504, "plugin_timeout")
    assert response.json()["source"] == "plugin"


async def test_worker_that_does_not_answer_is_a_timeout(installed: Organization, worker: FakeWorker) -> None:
    async def never(_: pb.CallRouteRequest, __: Any) -> pb.CallRouteResponse:
        await asyncio.Event().wait()
        raise AssertionError

    worker.answer = never
    async with installed.client() as client:
        response = await client.get(POINTS)
    assert (response.status_code, response.json()["code"]) == (504, "deadline_exceeded")


async def test_next_worker_takes_the_same_call_over(
    installed: Organization, worker: FakeWorker, gateway_redis_url: str
) -> None:
    async def unavailable(_: pb.CallRouteRequest, context: grpc.aio.ServicerContext[Any, Any]) -> pb.CallRouteResponse:
        await context.abort(grpc.StatusCode.UNAVAILABLE, "behind")
        raise AssertionError

    async with FakeWorker().serving() as lagging, Redis.from_url(gateway_redis_url) as redis:
        lagging.answer = unavailable
        first = _preferred_to(worker, lagging, installed.name)
        announcing = asyncio.create_task(WorkerLease(redis, lambda: first).run())
        async with installed.client() as client:

            async def taken_over() -> bool:
                assert (await client.get(POINTS)).status_code == 200
                return bool(lagging.requests)

            await eventually(taken_over)
        announcing.cancel()
        await asyncio.gather(announcing, return_exceptions=True)
    assert worker.requests[-1].call_id == lagging.requests[-1].call_id


def _preferred_to(known: FakeWorker, other: FakeWorker, organization: str) -> Worker:
    """An announcement of ``other`` that comes before ``known`` for the loyalty plugin."""
    usual = Worker(id="w-1", address=known.address, directory_revision=1)
    candidates = [Worker(id=f"n-{number}", address=other.address, directory_revision=1) for number in range(5_000)]
    return next(each for each in candidates if preferred([usual, each], organization, "loyalty-points")[0] == each)


async def test_without_a_worker_the_route_is_unavailable(
    settings: BuildSettings, identity: IdentitySettings, installed: Organization, redis_url: str
) -> None:
    changed = settings(redis_url=redis_url.removesuffix("/0") + "/8")
    async with serving(build_app(changed, identity)) as url, installed.client() as client:

        async def refused() -> str:
            response = await client.get(f"{url}{POINTS}")
            return str(response.json()["code"]) if response.status_code == 503 else ""

        assert await eventually(refused) == "no_worker"


async def test_plugin_of_another_organization_is_not_installed(installed: Organization, issuer: Issuer) -> None:
    headers = {"Authorization": f"Bearer {issuer.token('owner', 'rival')}"}
    async with httpx.AsyncClient(base_url=installed.gateway_url, headers=headers, trust_env=False) as client:
        response = await client.get(POINTS)
    assert (response.status_code, response.json()["code"]) == (404, "not_installed")


@pytest.mark.parametrize("status", ["installing", "inactive", "error", "uninstalling"])
async def test_plugin_that_is_not_active_says_so(organization: Organization, status: str) -> None:
    await organization.install(status=status)
    async with organization.client() as client:
        response = await client.get(POINTS)
    assert (response.status_code, response.json()["code"]) == (409, "not_active")
    assert response.json()["installationStatus"] == status


async def test_plugin_that_is_being_updated_asks_to_be_called_again(organization: Organization) -> None:
    await organization.install(status="active", updating=True)
    async with organization.client() as client:
        response = await client.get(POINTS)
    assert (response.status_code, response.json()["code"]) == (503, "plugin_updating")
    assert response.headers["Retry-After"] == "1"


async def test_installation_of_one_store_serves_that_store(
    installed: Organization, organization: Organization, worker: FakeWorker
) -> None:
    await organization.install(plugin_id="store-plugin", store_id="s-1")
    path = "/api/plugins/store-plugin/api/points/c-1"
    async with organization.client() as client:
        assert (await client.get(path)).json()["code"] == "not_installed"
        assert (await client.get(path, params={"store": "s-2"})).json()["code"] == "not_installed"
        assert (await client.get(path, params={"store": "s-1"})).status_code == 200
        assert (await client.get(path, headers={"X-Outlet-Store": "s-1"})).status_code == 200
    async with organization.client(store="s-1") as client:
        assert (await client.get(path)).status_code == 200
        response = await client.get(path, params={"store": "s-2"})
        assert (response.status_code, response.json()["code"]) == (403, "wrong_store")
    async with organization.client(store="s-2") as client:
        assert (await client.get(path)).json()["code"] == "not_installed"
    assert [request.caller.store_id for request in worker.requests] == ["s-1", "s-1", "s-1"]


async def test_route_that_is_not_declared_does_not_reach_a_worker(installed: Organization, worker: FakeWorker) -> None:
    async with installed.client() as client:
        unknown = await client.get("/api/plugins/loyalty-points/api/nowhere")
        wrong = await client.delete(POINTS)
    assert (unknown.status_code, unknown.json()["code"]) == (404, "route_not_found")
    assert (wrong.status_code, wrong.json()["code"]) == (405, "method_not_allowed")
    assert wrong.headers["Allow"] == "GET, HEAD, OPTIONS, POST"
    assert not worker.requests


async def test_head_is_a_get_without_its_body_and_options_needs_no_plugin(
    installed: Organization, worker: FakeWorker
) -> None:
    worker.answer = reply(200, b'{"points": 5}')
    async with installed.client() as client:
        head = await client.head(POINTS)
        assert (head.status_code, head.content, head.headers["Content-Length"]) == (200, b"", "13")
        assert [request.method for request in worker.requests] == ["GET"]
        options = await client.options(f"{POINTS}/redeem")
    assert (options.status_code, options.headers["Allow"]) == (204, "OPTIONS, POST")
    assert len(worker.requests) == 1


async def test_body_over_a_mebibyte_does_not_reach_a_worker(installed: Organization, worker: FakeWorker) -> None:
    async with installed.client() as client:
        response = await client.post(POINTS, content=bytes(1024 * 1024 + 1))
    assert (response.status_code, response.json()["code"]) == (413, "body_too_large")
    assert not worker.requests


@pytest.mark.parametrize("customer", ["..", "%2e%2e", "a%2Fb", "a%5Cb", "%00", ""])
async def test_path_with_more_than_one_reading_is_refused(
    installed: Organization, worker: FakeWorker, customer: str
) -> None:
    path = f"/api/plugins/loyalty-points/api/points/{customer}/redeem"
    token = installed.issuer.token("cashier", installed.name)
    assert await status_of(installed.gateway_url, path, token) == 400
    assert not worker.requests


async def test_a_plugin_out_of_api_calls_is_a_429(installed: Organization, worker: FakeWorker) -> None:
    worker.answer = failure("plugin_rate_limited")
    async with installed.client() as client:
        response = await client.get(POINTS)
    assert (response.status_code, response.json()["code"]) == (429, "rate_limited")
    assert response.headers["retry-after"] == "1"


async def test_what_is_left_of_the_api_calls_is_in_the_headers(installed: Organization, worker: FakeWorker) -> None:
    worker.answer = reply(200, b"{}", ratelimit_limit="10", ratelimit_remaining="9", ratelimit_reset="1")
    async with installed.client() as client:
        response = await client.get(POINTS)
    assert response.headers["ratelimit-remaining"] == "9"


async def test_a_revoked_plugin_is_a_clear_problem_and_no_worker_is_asked(
    organization: Organization, worker: FakeWorker
) -> None:
    await organization.install(status="error", revoked="it sends receipts elsewhere")
    worker.forget()
    async with organization.client() as client:
        response = await client.get(POINTS)
    assert (response.status_code, response.json()["code"]) == (409, "plugin_revoked")
    assert "it sends receipts elsewhere" in response.json()["detail"]
    assert worker.requests == []


@pytest.mark.parametrize(("code", "status"), [("package_untrusted", 502), ("plugin_revoked", 409)])
async def test_what_the_platform_refuses_to_run_is_not_blamed_on_the_plugin(
    installed: Organization, worker: FakeWorker, code: str, status: int
) -> None:
    worker.answer = failure(code)
    async with installed.client() as client:
        response = await client.get(POINTS)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.json().get("source") != "plugin"
