"""Which components belong on a screen, answered over HTTP from the followed directory."""

import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest
from aiokafka import AIOKafkaProducer

from outlet.local.issuer import NAME, Issuer
from outlet.manifest import INJECTION_POINTS, ComponentDeclaration
from services.common.kafka import open_producer
from services.common.settings import IdentitySettings
from services.ui_components.app import build_app
from services.ui_components.settings import UiComponentsSettings
from tests.support.directory import MANIFEST, eventually, installation, publish

POINT = "/api/plugins/ui-components/POS.AfterCheckout"


@pytest.fixture(scope="session")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Issuer:
    return Issuer.create(tmp_path_factory.mktemp("issuer"))


@pytest.fixture(scope="session")
async def producer(kafka_bootstrap: str) -> AsyncIterator[AIOKafkaProducer]:
    async with open_producer(kafka_bootstrap) as started:
        yield started


@pytest.fixture(scope="session")
async def service(kafka_bootstrap: str, issuer: Issuer) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the service, without a token."""
    identity = IdentitySettings(jwks=str(issuer.jwks_path), jwt_issuer=NAME)
    app = build_app(UiComponentsSettings(kafka_bootstrap=kafka_bootstrap), identity)
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://ui") as client:
        yield client


class Shop:
    """An organization of the test's own, with its installations."""

    def __init__(self, service: httpx.AsyncClient, producer: AIOKafkaProducer, issuer: Issuer) -> None:
        self.name = f"org-{uuid.uuid4().hex[:8]}"
        self._service = service
        self._producer = producer
        self._issuer = issuer

    async def ask(self, path: str = POINT, *, token_store: str | None = None, **options: Any) -> httpx.Response:
        token = self._issuer.token("cashier", self.name, store=token_store)
        headers = {"Authorization": f"Bearer {token}"} | options.pop("headers", {})
        return await self._service.get(path, headers=headers, **options)

    async def shown(self, **asked: Any) -> list[str]:
        """The plugins whose components are shown."""
        response = await self.ask(**asked)
        assert response.status_code == 200, response.text
        return [component["pluginId"] for component in response.json()["components"]]

    async def install(
        self, plugin_id: str, *, priority: int = 0, revision: int = 1, route: str | None = None, **facts: Any
    ) -> str:
        """Publish an installation and wait until the service has seen it."""
        component = ComponentDeclaration(
            injection_point="POS.AfterCheckout",
            name="tile",
            title="Tile",
            priority=priority,
            route=route,
        )
        manifest = msgspec.structs.replace(MANIFEST, plugin_id=plugin_id, components=(component,))
        changes = {"id": uuid.uuid4().hex} | facts
        published = installation(
            organization_id=self.name, plugin_id=plugin_id, revision=revision, manifest=manifest, **changes
        )
        # What is published after it can only be seen after it.
        marker = installation(id=uuid.uuid4().hex, organization_id=f"{self.name}-marker-{uuid.uuid4().hex}")
        await publish(self._producer, published, marker)
        token = self._issuer.token("cashier", marker.organization_id)

        async def seen() -> bool:
            response = await self._service.get(POINT, headers={"Authorization": f"Bearer {token}"})
            return bool(response.json()["components"])

        await eventually(seen)
        return published.id


@pytest.fixture
def shop(service: httpx.AsyncClient, producer: AIOKafkaProducer, issuer: Issuer) -> Shop:
    return Shop(service, producer, issuer)


async def test_component_comes_with_all_a_screen_needs(shop: Shop) -> None:
    installation_id = await shop.install("loyalty-points", priority=10, route="/points/{customer_id}")
    assert (await shop.ask()).json() == {
        "injectionPoint": "POS.AfterCheckout",
        "components": [
            {
                "pluginId": "loyalty-points",
                "installationId": installation_id,
                "version": "1.2.0",
                "name": "tile",
                "title": "Tile",
                "priority": 10,
                "route": "/api/plugins/loyalty-points/api/points/{customer_id}",
                "store": None,
            }
        ],
    }


async def test_higher_priority_comes_first_then_the_plugins_name(shop: Shop) -> None:
    for plugin_id, priority in (("delta", 0), ("charlie", 5), ("bravo", 0), ("alpha", -1)):
        await shop.install(plugin_id, priority=priority)
    assert await shop.shown() == ["charlie", "bravo", "delta", "alpha"]


@pytest.mark.parametrize("status", ["installing", "inactive", "error", "uninstalling"])
async def test_only_active_installations_show(shop: Shop, status: str) -> None:
    installation_id = await shop.install("alpha")
    assert await shop.shown() == ["alpha"]
    await shop.install("alpha", id=installation_id, revision=2, status=status)
    assert await shop.shown() == []


async def test_store_sees_its_own_and_the_organizations(shop: Shop) -> None:
    await shop.install("everywhere")
    await shop.install("only-1", store_id="s-1")
    assert await shop.shown() == ["everywhere"]
    assert await shop.shown(params={"store": "s-1"}) == ["everywhere", "only-1"]
    assert await shop.shown(params={"store": "s-2"}) == ["everywhere"]
    assert await shop.shown(token_store="s-1") == ["everywhere", "only-1"]
    assert await shop.shown(token_store="s-2") == ["everywhere"]
    response = await shop.ask(token_store="s-2", params={"store": "s-1"})
    assert (response.status_code, response.json()["code"]) == (403, "wrong_store")


async def test_another_organization_sees_nothing(shop: Shop, service: httpx.AsyncClient, issuer: Issuer) -> None:
    await shop.install("alpha")
    headers = {"Authorization": f"Bearer {issuer.token('owner', 'somebody-else')}"}
    assert (await service.get(POINT, headers=headers)).json()["components"] == []


@pytest.mark.parametrize("point", INJECTION_POINTS)
async def test_every_injection_point_is_known(shop: Shop, point: str) -> None:
    response = await shop.ask(f"/api/plugins/ui-components/{point}")
    assert (response.status_code, response.json()) == (200, {"injectionPoint": point, "components": []})


@pytest.mark.parametrize("point", ["POS.Nowhere", "pos.aftercheckout", "POS"])
async def test_unknown_injection_point_is_told_the_known_ones(shop: Shop, point: str) -> None:
    response = await shop.ask(f"/api/plugins/ui-components/{point}")
    assert (response.status_code, response.json()["code"]) == (404, "unknown_injection_point")
    assert response.json()["injectionPoints"] == list(INJECTION_POINTS)


async def test_unchanged_answer_is_not_sent_again(shop: Shop) -> None:
    first = await shop.ask()
    tag = first.headers["ETag"]
    assert first.headers["Cache-Control"] == "private, no-cache"
    for asked in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = await shop.ask(headers={"If-None-Match": asked})
        assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
    await shop.install("alpha")
    changed = await shop.ask(headers={"If-None-Match": tag})
    assert changed.status_code == 200
    assert changed.headers["ETag"] != tag


async def test_answer_takes_a_token_of_who_uses_the_shop(service: httpx.AsyncClient, issuer: Issuer) -> None:
    assert (await service.get(POINT)).status_code == 401
    headers = {"Authorization": f"Bearer {issuer.token('publisher', 'acme')}"}
    assert (await service.get(POINT, headers=headers)).json()["code"] == "forbidden"


async def test_ready_once_the_directory_has_caught_up(service: httpx.AsyncClient) -> None:
    async def ready() -> bool:
        return (await service.get("/health/ready")).status_code == 200

    assert await eventually(ready)


async def test_not_ready_while_the_broker_is_away(issuer: Issuer) -> None:
    identity = IdentitySettings(jwks=str(issuer.jwks_path), jwt_issuer=NAME)
    app = build_app(UiComponentsSettings(kafka_bootstrap="127.0.0.1:1"), identity)
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://ui") as client:
        response = await client.get("/health/ready")
        assert (response.status_code, response.json()["checks"]["directory"]) == (503, False)
        assert (await client.get("/health/live")).status_code == 200
