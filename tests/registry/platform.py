"""A running registry for tests, and a client that speaks to it as somebody."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from fastapi import FastAPI
from joserfc.jwk import OKPKey

from outlet import signing
from outlet.local.issuer import Issuer
from outlet.package import PackageError, open_package
from services.common.secret_settings import new_key
from services.registry.app import create_registry
from services.registry.settings import RegistrySettings
from tests.registry.packages import package

PUBLISHER = "the-publisher"


class Registry:
    """A registry's address, and tokens for it."""

    def __init__(self, http: httpx.AsyncClient, issuer: Issuer) -> None:
        self.http = http
        self._issuer = issuer
        self._keys: dict[str, OKPKey] = {}

    async def key_of(self, publisher: "Client") -> OKPKey:
        """The registered key of a publisher's organization."""
        if publisher.organization not in self._keys:
            self._keys[publisher.organization] = await publisher.also("publisher").register()
        return self._keys[publisher.organization]

    def caller(self, role: str = "owner", organization: str | None = None, store: str | None = None) -> "Client":
        """Somebody of an organization; of one of their own without a name."""
        organization = organization or f"org-{uuid4().hex[:8]}"
        token = self._issuer.token(role, organization, store=store)  # type: ignore[arg-type]
        return Client(self, organization, {"Authorization": f"Bearer {token}"})

    def bearer(self, organization: str, token: str) -> "Client":
        """Whoever has this token or key."""
        return Client(self, organization, {"Authorization": f"Bearer {token}"})

    async def publish(self, plugin_id: str | None = None, version: str = "1.0.0", **members: Any) -> str:
        """Publish a plugin; its id, a new one without a name."""
        plugin_id = plugin_id or f"plugin-{uuid4().hex[:8]}"
        published = await self.caller("publisher", PUBLISHER).publish(package(plugin_id, version, **members))
        assert published.status_code == 201, published.text
        return plugin_id


class LocalRegistry(Registry):
    """A registry in this process."""

    def __init__(self, app: FastAPI, http: httpx.AsyncClient, issuer: Issuer, settings: RegistrySettings) -> None:
        super().__init__(http, issuer)
        self.app = app
        self.settings = settings


class Client:
    """One caller's view of the registry."""

    def __init__(self, registry: Registry, organization: str, headers: dict[str, str]) -> None:
        self.registry = registry
        self.organization = organization
        self._http = registry.http
        self.headers = headers

    def also(self, role: str = "owner", store: str | None = None) -> "Client":
        """Somebody else of the same organization."""
        return self.registry.caller(role, self.organization, store)

    async def get(self, path: str = "", **query: Any) -> httpx.Response:
        return await self._http.get(f"/api/plugins{path}", params=query, headers=self.headers)

    async def post(self, path: str, body: Any = None) -> httpx.Response:
        return await self._http.post(f"/api/plugins{path}", json=body, headers=self.headers)

    async def send(self, path: str, body: str) -> httpx.Response:
        """Post a body as it is, announced as JSON."""
        headers = self.headers | {"Content-Type": "application/json"}
        return await self._http.post(f"/api/plugins{path}", content=body, headers=headers)

    async def put(self, path: str, body: Any) -> httpx.Response:
        return await self._http.put(f"/api/plugins{path}", json=body, headers=self.headers)

    async def delete(self, path: str, **query: Any) -> httpx.Response:
        return await self._http.delete(f"/api/plugins{path}", params=query, headers=self.headers)

    async def register(self, key: OKPKey | None = None) -> OKPKey:
        """Register a key of the organization, a new one unless told."""
        key = key or signing.new_key()
        body = {"name": "tests", "publicKey": signing.public_part(key).document()}
        registered = await self.post("/publisher-keys", body)
        assert registered.status_code in (200, 201), registered.text
        return key

    async def publish(self, data: bytes, media_type: str = "application/vnd.outlet.package") -> httpx.Response:
        """Publish a package, signed by the organization's key if it can be read."""
        return await self.publish_as(data, await self._signature(data), media_type)

    async def _signature(self, data: bytes) -> str | None:
        try:
            package = open_package(data)
        except PackageError:
            return None
        return signing.sign(signing.Statement.of(package), await self.registry.key_of(self))

    async def publish_as(
        self,
        data: bytes,
        signature: str | None,
        media_type: str = "application/vnd.outlet.package",
        *,
        level: str = "community",
    ) -> httpx.Response:
        """Publish a package with this signature."""
        headers = self.headers | {"Content-Type": media_type}
        if signature is not None:
            headers[signing.HEADER] = signature
        return await self._http.post("/api/plugins/marketplace", params={"level": level}, content=data, headers=headers)

    async def try_install(self, plugin_id: str, **members: Any) -> httpx.Response:
        return await self.post("/install", {"pluginId": plugin_id, **members})

    async def install(self, plugin_id: str, **members: Any) -> dict[str, Any]:
        """An inactive installation."""
        response = await self.try_install(plugin_id, **members)
        assert response.status_code == 201, response.text
        document: dict[str, Any] = response.json()
        return document

    async def read(self, installation_id: str) -> dict[str, Any]:
        response = await self.get(f"/{installation_id}")
        assert response.status_code == 200, response.text
        document: dict[str, Any] = response.json()
        return document


def environment(dsn: str, redis_url: str, bootstrap: str, issuer: Issuer) -> dict[str, Any]:
    """The settings of a registry on these parts, by the names of their variables in lower case."""
    return {
        "environment": "development",
        "kafka_bootstrap": bootstrap,
        "kafka_create_topics": False,
        "registry_database_url": dsn,
        "redis_url": redis_url,
        "jwks": str(issuer.jwks_path),
        "jwt_issuer": "outlet-development",
        "lifecycle_deadline": 2.0,
        "update_turn_seconds": 3600.0,  # tests take the turns
        "bulk_turn_seconds": 3600.0,
        "secret_keys": new_key(),
        "review": "automatic",
    }


@asynccontextmanager
async def running_registry(
    dsn: str, redis_url: str, bootstrap: str, directory: Path, **changes: Any
) -> AsyncIterator[LocalRegistry]:
    """A registry in this process, from its start to its stop."""
    issuer = Issuer.create(directory)
    settings = RegistrySettings(**environment(dsn, redis_url, bootstrap, issuer) | changes)
    app = create_registry(settings)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://registry", timeout=30) as http,
    ):
        yield LocalRegistry(app, http, issuer, settings)
