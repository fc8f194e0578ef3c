"""One gateway for all of its tests, between Kafka, Redis, stand-in upstreams and a stand-in worker."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from aiokafka import AIOKafkaProducer
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from outlet.local.issuer import NAME, Issuer
from services.common.kafka import open_producer
from services.common.settings import IdentitySettings
from services.common.workers import Worker, WorkerLease
from services.gateway.app import build_app
from services.gateway.settings import GatewaySettings
from tests.gateway.support import FakeWorker, serving
from tests.support.directory import eventually, installation, publish

BuildSettings = Callable[..., GatewaySettings]


@dataclass
class Upstream:
    """A stand-in service that tells what reached it; ``answer`` is replaced by tests."""

    requests: list[Request] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    answer: Callable[[Request], Response] = lambda _: JSONResponse({"from": "upstream"})

    def app(self) -> Starlette:
        async def anything(request: Request) -> Response:
            self.requests.append(request)
            self.bodies.append(await request.body())
            return self.answer(request)

        methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
        return Starlette(routes=[Route("/{rest:path}", anything, methods=methods)])


@asynccontextmanager
async def _upstream() -> AsyncIterator[tuple[Upstream, str]]:
    upstream = Upstream()

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        yield

    app = upstream.app()
    app.router.lifespan_context = lifespan
    async with serving(app) as url:
        yield upstream, url


@pytest.fixture(scope="session")
async def registry() -> AsyncIterator[tuple[Upstream, str]]:
    async with _upstream() as started:
        yield started


@pytest.fixture(scope="session")
async def ui_components() -> AsyncIterator[tuple[Upstream, str]]:
    async with _upstream() as started:
        yield started


@pytest.fixture(scope="session")
def gateway_redis_url(redis_url: str) -> str:
    """A database of its own: workers of other tests are not to be called."""
    return redis_url.removesuffix("/0") + "/7"


@pytest.fixture(scope="session")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Issuer:
    return Issuer.create(tmp_path_factory.mktemp("issuer"))


@pytest.fixture(scope="session")
def identity(issuer: Issuer) -> IdentitySettings:
    return IdentitySettings(jwks=str(issuer.jwks_path), jwt_issuer=NAME)


@pytest.fixture(scope="session")
def settings(
    kafka_bootstrap: str,
    gateway_redis_url: str,
    registry: tuple[Upstream, str],
    ui_components: tuple[Upstream, str],
) -> BuildSettings:
    """Settings of a gateway among the stand-ins, with changes."""

    def build(**changes: Any) -> GatewaySettings:
        usual: dict[str, Any] = {
            "kafka_bootstrap": kafka_bootstrap,
            "redis_url": gateway_redis_url,
            "registry_url": registry[1],
            "ui_components_url": ui_components[1],
            "route_deadline": 0.5,
        }
        return GatewaySettings(**(usual | changes))

    return build


@pytest.fixture(scope="session")
async def producer(kafka_bootstrap: str) -> AsyncIterator[AIOKafkaProducer]:
    async with open_producer(kafka_bootstrap) as started:
        yield started


@pytest.fixture(scope="session")
async def gateway_url(settings: BuildSettings, identity: IdentitySettings) -> AsyncIterator[str]:
    async with serving(build_app(settings(), identity)) as url:
        yield url


@pytest.fixture
async def client(gateway_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the gateway without a token."""
    async with httpx.AsyncClient(base_url=gateway_url, timeout=20, trust_env=False) as client:
        yield client


@pytest.fixture
async def cashier(client: httpx.AsyncClient, issuer: Issuer) -> httpx.AsyncClient:
    """A client with a cashier's token for all stores of acme."""
    client.headers["Authorization"] = f"Bearer {issuer.token('cashier', 'acme')}"
    return client


@pytest.fixture(scope="session")
async def announced_worker(gateway_redis_url: str) -> AsyncIterator[FakeWorker]:
    async with FakeWorker().serving() as worker, Redis.from_url(gateway_redis_url) as redis:
        lease = WorkerLease(redis, lambda: Worker(id="w-1", address=worker.address, directory_revision=1))
        renewing = asyncio.create_task(lease.run())
        yield worker
        renewing.cancel()
        await asyncio.gather(renewing, return_exceptions=True)


@pytest.fixture
def worker(announced_worker: FakeWorker) -> FakeWorker:
    """The worker that is alive, as it began."""
    announced_worker.forget()
    return announced_worker


@pytest.fixture
async def organization(producer: AIOKafkaProducer, gateway_url: str, issuer: Issuer) -> "Organization":
    """An organization of the test's own."""
    return Organization(f"org-{uuid.uuid4().hex[:8]}", producer, gateway_url, issuer)


@dataclass
class Organization:
    """Installs plugins as the registry would, and waits until the gateway knows."""

    name: str
    producer: AIOKafkaProducer
    gateway_url: str
    issuer: Issuer

    def client(self, store: str | None = None) -> httpx.AsyncClient:
        token = self.issuer.token("cashier", self.name, store=store)
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.AsyncClient(base_url=self.gateway_url, headers=headers, timeout=20, trust_env=False)

    async def install(self, **changes: Any) -> None:
        published = installation(**({"id": uuid.uuid4().hex, "organization_id": self.name} | changes))
        await publish(self.producer, published)
        async with self.client() as client:

            async def known() -> bool:
                path = f"/api/plugins/{published.plugin_id}/api/points/c-1"
                response = await client.options(path, params={"store": published.store_id or ""})
                return response.status_code != 404

            await eventually(known)
