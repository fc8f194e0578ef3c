"""The gateway as a process and as an HTTP citizen: readiness, request ids, headers, the end."""

import asyncio
import os
import signal
import sys

import httpx
import pytest

from outlet.local.issuer import NAME, Issuer
from services.common.settings import IdentitySettings
from services.gateway.app import build_app
from tests.gateway.conftest import BuildSettings
from tests.gateway.support import closed_port, serving
from tests.support.directory import eventually


async def test_gateway_gets_ready(client: httpx.AsyncClient) -> None:
    async def ready() -> bool:
        return (await client.get("/health/ready")).status_code == 200

    assert await eventually(ready)
    assert (await client.get("/health/live")).status_code == 200


@pytest.mark.parametrize("given", ["", "short", "a b c d e f", "x" * 129, "na\xefve-request"])
async def test_malformed_request_id_is_replaced(client: httpx.AsyncClient, given: str) -> None:
    response = await client.get("/health/live", headers={b"X-Request-Id": given.encode("latin-1")})
    assert response.headers["X-Request-Id"] not in ("", given)


async def test_well_formed_request_id_is_kept_and_named_in_problems(client: httpx.AsyncClient) -> None:
    response = await client.get("/nowhere", headers={"X-Request-Id": "request-1234"})
    assert (response.status_code, response.json()["code"]) == (404, "not_found")
    assert response.headers["X-Request-Id"] == "request-1234"
    assert response.json()["instance"] == "urn:outlet:request:request-1234"


@pytest.mark.parametrize("path", ["/health/live", "/nowhere", "/api/plugins"])
async def test_every_answer_is_safe_in_a_browser(client: httpx.AsyncClient, path: str) -> None:
    headers = (await client.get(path, headers={"Origin": "https://evil.example"})).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "Access-Control-Allow-Origin" not in headers


async def test_without_redis_the_gateway_still_takes_events_and_proxies(
    settings: BuildSettings, identity: IdentitySettings, issuer: Issuer
) -> None:
    changed = settings(redis_url=f"redis://127.0.0.1:{closed_port()}/0")
    headers = {"Authorization": f"Bearer {issuer.token('owner', 'acme')}"}
    async with serving(build_app(changed, identity)) as url, httpx.AsyncClient(base_url=url, headers=headers) as client:
        assert (await client.get("/api/plugins")).status_code == 200


async def test_process_serves_and_ends_on_sigterm(settings: BuildSettings, issuer: Issuer) -> None:
    chosen = settings()
    port = closed_port()
    environment = os.environ | {
        "OUTLET_PORT": str(port),
        "OUTLET_KAFKA_BOOTSTRAP": chosen.kafka_bootstrap,
        "OUTLET_REDIS_URL": chosen.redis_url,
        "OUTLET_REGISTRY_URL": chosen.registry_url,
        "OUTLET_UI_COMPONENTS_URL": chosen.ui_components_url,
        "OUTLET_JWKS": str(issuer.jwks_path),
        "OUTLET_JWT_ISSUER": NAME,
    }
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "services.gateway", env=environment)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:

            async def ready() -> bool:
                try:
                    return (await client.get("/health/ready")).status_code == 200
                except httpx.ConnectError:
                    return False

            assert await eventually(ready, within=30)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(5):
            assert await process.wait() in (0, -signal.SIGTERM)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
