"""What passes to the services behind the gateway, and what cannot."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from outlet.local.issuer import Issuer
from services.common.settings import IdentitySettings
from services.gateway.app import build_app
from tests.gateway.conftest import BuildSettings, Upstream
from tests.gateway.support import closed_port, serving, status_of


@pytest.fixture(autouse=True)
def fresh(registry: tuple[Upstream, str], ui_components: tuple[Upstream, str]) -> None:
    for upstream, _ in (registry, ui_components):
        upstream.requests.clear()
        upstream.bodies.clear()
        upstream.answer = lambda _: JSONResponse({"from": "upstream"})


async def test_management_goes_to_the_registry_as_it_came(
    cashier: httpx.AsyncClient, registry: tuple[Upstream, str]
) -> None:
    path = "/api/plugins/in%20stall/config?a=1&a=2&b=%2F"
    response = await cashier.put(path, json={"config": {}}, headers={"X-Request-Id": "request-1234"})
    assert (response.status_code, response.json()) == (200, {"from": "upstream"})
    [request] = registry[0].requests
    assert (request.method, request.scope["raw_path"]) == ("PUT", b"/api/plugins/in%20stall/config")
    assert request.scope["query_string"] == b"a=1&a=2&b=%2F"
    assert registry[0].bodies == [b'{"config":{}}']
    assert request.headers["Authorization"] == cashier.headers["Authorization"]
    assert request.headers["X-Request-Id"] == response.headers["X-Request-Id"] == "request-1234"


@pytest.mark.parametrize("path", ["/api/plugins", "/api/plugins/marketplace", "/api/plugins/in-1/stats"])
async def test_registry_answers_the_rest_of_plugins(
    cashier: httpx.AsyncClient, registry: tuple[Upstream, str], ui_components: tuple[Upstream, str], path: str
) -> None:
    assert (await cashier.get(path)).status_code == 200
    assert [request.url.path for request in registry[0].requests] == [path]
    assert not ui_components[0].requests


async def test_injection_points_go_to_ui_components(
    cashier: httpx.AsyncClient, registry: tuple[Upstream, str], ui_components: tuple[Upstream, str]
) -> None:
    path = "/api/plugins/ui-components/api/x"  # is no route of a plugin called ui-components
    for each in ("/api/plugins/ui-components/POS.AfterCheckout", path):
        assert (await cashier.get(each)).status_code == 200
    assert len(ui_components[0].requests) == 2
    assert not registry[0].requests


async def test_only_listed_headers_pass_either_way(cashier: httpx.AsyncClient, registry: tuple[Upstream, str]) -> None:
    sent = {
        "Cookie": "session=1",
        "X-Forwarded-For": "10.0.0.1",
        "X-Real-Ip": "10.0.0.1",
        "Forwarded": "for=10.0.0.1",
        "X-Organization": "rival",
        "X-Outlet-Client-Address": "10.9.9.9",
        "User-Agent": "till/1",
        "If-None-Match": '"a"',
    }
    answered = {"Set-Cookie": "session=1", "Server": "upstream", "X-Internal": "1", "ETag": '"b"', "X-Powered-By": "x"}
    registry[0].answer = lambda _: JSONResponse({}, headers=answered)
    response = await cashier.get("/api/plugins", headers=sent)
    seen = registry[0].requests[0].headers
    assert seen["If-None-Match"] == '"a"'
    assert seen.getlist("X-Outlet-Client-Address") == ["10.0.0.1"]  # uvicorn believes a proxy on its own machine
    assert seen["User-Agent"] == "till/1"
    assert not {"cookie", "x-forwarded-for", "x-real-ip", "forwarded", "x-organization"} & set(seen.keys())
    assert response.headers["ETag"] == '"b"'
    assert not {"set-cookie", "x-internal", "x-powered-by"} & set(response.headers.keys())
    assert response.headers.get("Server") != "upstream"


async def test_failures_of_an_upstream_pass_unchanged(
    cashier: httpx.AsyncClient, registry: tuple[Upstream, str]
) -> None:
    registry[0].answer = lambda _: JSONResponse(
        {"code": "already_installed"}, status_code=409, media_type="application/problem+json"
    )
    response = await cashier.post("/api/plugins/install", json={})
    assert (response.status_code, response.json()) == (409, {"code": "already_installed"})
    assert response.headers["Content-Type"] == "application/problem+json"


async def test_not_modified_and_head_have_no_body(cashier: httpx.AsyncClient, registry: tuple[Upstream, str]) -> None:
    registry[0].answer = lambda _: Response(status_code=304, headers={"ETag": '"a"'})
    response = await cashier.get("/api/plugins")
    assert (response.status_code, response.content) == (304, b"")
    registry[0].answer = lambda _: JSONResponse({"from": "upstream"})
    response = await cashier.head("/api/plugins")
    assert (response.status_code, response.content) == (200, b"")
    assert (await cashier.get("/api/plugins")).json() == {"from": "upstream"}


async def test_encoded_content_passes_only_to_who_takes_it(
    cashier: httpx.AsyncClient, registry: tuple[Upstream, str]
) -> None:
    def answer(request: Request) -> Response:
        if "gzip" in request.headers["Accept-Encoding"]:
            return Response(gzip.compress(b"[1]"), headers={"Content-Encoding": "gzip"})
        return Response(b"[1]")

    registry[0].answer = answer
    assert (await cashier.get("/api/plugins")).json() == [1]
    del cashier.headers["Accept-Encoding"]
    response = await cashier.get("/api/plugins", headers={"Accept-Encoding": ""})
    assert (response.json(), response.headers.get("Content-Encoding")) == ([1], None)


@pytest.mark.parametrize("announced", [True, False])
async def test_package_of_up_to_four_mebibytes_passes(
    cashier: httpx.AsyncClient, registry: tuple[Upstream, str], announced: bool
) -> None:
    async def chunks(package: bytes) -> AsyncIterator[bytes]:
        for start in range(0, len(package), 256 * 1024):
            yield package[start : start + 256 * 1024]

    for size, status in ((4 * 1024 * 1024, 200), (4 * 1024 * 1024 + 1, 413)):
        content = bytes(size) if announced else chunks(bytes(size))
        response = await cashier.post("/api/plugins/marketplace", content=content)
        assert response.status_code == status
    assert [len(body) for body in registry[0].bodies] == [4 * 1024 * 1024]


TRAVERSALS = [
    "/internal/packages/sha256:0",
    "/api/plugins/../../internal/packages/x",
    "/api/plugins/%2e%2e/%2e%2e/internal/packages/x",
    "/api/plugins/..%2f..%2finternal/packages/x",
    "/api/plugins/x%2F..%2F..%2Finternal",
    "/api/plugins/%2e%2e%5c%2e%2e%5cinternal",
    "/api/plugins/..\\..\\internal",
    "/api/plugins//internal",
    "/api/plugins/./x",
    "/api/plugins/x/",
    "/api/plugins/x%00",
    "/api/plugins/x%0d%0aHost:%20evil",
    "/api/plugins/%ff",
    "/api/plugins/ui-components/../../../internal/x",
    "/api/plugins/ui-components/%2e%2e%2f%2e%2e%2f%2e%2e%2finternal",
    "/api/plugins/ui-components",  # left to the registry, as an installation of that name: answered below
    "//internal/packages/x",
    "/api/../internal/packages/x",
    "/API/plugins",
    "/api/pluginsx",
]


@pytest.mark.parametrize("path", TRAVERSALS)
async def test_no_path_leads_behind_the_published_api(
    gateway_url: str,
    issuer: Issuer,
    registry: tuple[Upstream, str],
    ui_components: tuple[Upstream, str],
    path: str,
) -> None:
    status = await status_of(gateway_url, path, issuer.token("owner", "acme"))
    passed = [request.scope["raw_path"] for request in registry[0].requests + ui_components[0].requests]
    if path == "/api/plugins/ui-components":
        assert (status, passed) == (200, [path.encode()])
    else:
        assert status in (400, 404)
        assert not passed


async def test_double_encoding_is_decoded_once_by_everyone(
    gateway_url: str, issuer: Issuer, registry: tuple[Upstream, str]
) -> None:
    path = "/api/plugins/%252e%252e/%252e%252e%252finternal"
    assert await status_of(gateway_url, path, issuer.token("owner", "acme")) == 200
    assert [request.scope["raw_path"] for request in registry[0].requests] == [path.encode()]


async def test_client_that_leaves_does_not_hold_the_upstreams_connection(
    cashier: httpx.AsyncClient, registry: tuple[Upstream, str]
) -> None:
    released = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield bytes(64 * 1024)
                await asyncio.sleep(0)
        finally:
            released.set()

    registry[0].answer = lambda _: StreamingResponse(endless())
    async with cashier.stream("GET", "/api/plugins") as response:
        await anext(response.aiter_raw())
    async with asyncio.timeout(5):
        await released.wait()


async def test_upstream_that_is_down_is_unavailable(
    settings: BuildSettings, identity: IdentitySettings, issuer: Issuer
) -> None:
    changed = settings(registry_url=f"http://127.0.0.1:{closed_port()}")
    async with _client_of(build_app(changed, identity), issuer) as client:
        response = await client.get("/api/plugins")
        assert (response.status_code, response.json()["code"]) == (503, "upstream_unavailable")
        assert (await client.get("/api/plugins/ui-components/POS.AfterCheckout")).status_code == 200


async def test_upstream_that_does_not_answer_is_a_timeout(
    settings: BuildSettings, identity: IdentitySettings, issuer: Issuer
) -> None:
    asked = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    changed = settings(registry_url=f"http://127.0.0.1:{port}", lifecycle_deadline=-9.8)  # 0.2 s with the margin
    async with server, _client_of(build_app(changed, identity), issuer) as client:
        response = await client.get("/api/plugins")
        assert asked.is_set()
        assert (response.status_code, response.json()["code"]) == (504, "upstream_timeout")


async def test_upstream_that_breaks_off_is_unavailable(
    settings: BuildSettings, identity: IdentitySettings, issuer: Issuer
) -> None:
    async def rude(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(rude, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    changed = settings(registry_url=f"http://127.0.0.1:{port}")
    async with server, _client_of(build_app(changed, identity), issuer) as client:
        response = await client.get("/api/plugins")
        assert (response.status_code, response.json()["code"]) == (503, "upstream_unavailable")


@asynccontextmanager
async def _client_of(app: Any, issuer: Issuer) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {issuer.token('owner', 'acme')}"}
    async with serving(app) as url, httpx.AsyncClient(base_url=url, headers=headers, trust_env=False) as client:
        yield client


async def test_programs_get_their_tokens_without_one(gateway_url: str, registry: tuple[Upstream, str]) -> None:
    async with httpx.AsyncClient(base_url=gateway_url, trust_env=False) as stranger:
        path = "/api/plugins/service-accounts/token"
        assert (await stranger.post(path, data={"grant_type": "client_credentials"})).status_code == 200
        assert registry[0].bodies == [b"grant_type=client_credentials"]
        too_large = await stranger.post(path, content=bytes(4 * 1024 + 1))
        assert (too_large.status_code, too_large.json()["code"]) == (413, "body_too_large")
        for method in ("GET", "PUT", "DELETE"):
            assert (await stranger.request(method, path)).status_code == 401
        assert (await stranger.get("/api/plugins/service-accounts")).status_code == 401
        for internal in ("/internal/service-accounts/jwks", "/api/plugins/service-accounts/token/../../../internal"):
            assert (await stranger.post(internal)).status_code in (401, 404, 405)
        assert len(registry[0].requests) == 1


async def test_payment_providers_send_webhooks_without_a_token_byte_for_byte(
    gateway_url: str, registry: tuple[Upstream, str]
) -> None:
    path = "/api/plugins/payments/stripe/webhook"
    async with httpx.AsyncClient(base_url=gateway_url, trust_env=False) as provider:
        body = b'{ "id" :"evt_1"}\n'
        assert (await provider.post(path, content=body, headers={"Stripe-Signature": "t=1,v1=a"})).status_code == 200
        assert registry[0].bodies == [body]
        assert registry[0].requests[0].headers["Stripe-Signature"] == "t=1,v1=a"
        too_large = await provider.post(path, content=bytes(256 * 1024 + 1))
        assert (too_large.status_code, too_large.json()["code"]) == (413, "body_too_large")
        for other in (path + "/x", "/api/plugins/payments/stripe", "/api/plugins/payments/a/b/webhook"):
            assert (await provider.post(other)).status_code == 401
        assert (await provider.get(path)).status_code == 401
        assert len(registry[0].requests) == 1
