"""The gateway's public API as a POS or a back office of one organization uses it."""

from types import TracebackType
from typing import Any, Literal, Protocol, Self

import httpx

from outlet import signing
from outlet.local.roles import Role

TIMEOUT_SECONDS = 60.0
PACKAGE_TYPE = "application/vnd.outlet.package"

Json = dict[str, Any]
Backlog = Literal["pause", "drain", "discard"]
Level = Literal["private", "community"]


class TokenSource(Protocol):
    """Mints access tokens: the development issuer does."""

    def __call__(self, role: Role, organization: str, *, store: str | None = None) -> str: ...


class Refused(Exception):
    """The gateway answered with a problem (RFC 9457)."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(f"{status} {code}: {detail}")
        self.status = status
        self.code = code


class GatewayClient:
    """Calls on behalf of one organization. All methods but :meth:`route` raise :class:`Refused` for an error answer.

    ``publisher`` is the organization that publishes plugins: a plugin belongs to the first one that published it.
    """

    def __init__(self, url: str, token: TokenSource, organization: str, *, publisher: str = "outlet") -> None:
        self._http = httpx.AsyncClient(base_url=url, timeout=TIMEOUT_SECONDS)
        self._token = token
        self._organization = organization
        self._publisher = publisher
        self._key = signing.new_key()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def publish(self, package: bytes, *, level: Level = "community") -> Json:
        """Publish a plugin version to the catalogue, signed by a key of this client; the same again changes nothing.

        ``level``: for everyone, or for the publisher's own organization.
        """
        key = {"name": "local client", "publicKey": signing.public_part(self._key).document()}
        await self._call("POST", "/api/plugins/publisher-keys", "publisher", json=key)
        headers = {"content-type": PACKAGE_TYPE, signing.HEADER: signing.sign_package(package, self._key)}
        return await self._call(
            "POST", f"/api/plugins/marketplace?level={level}", "publisher", content=package, headers=headers
        )

    async def install(self, plugin_id: str, config: Json | None = None) -> Json:
        """Install the newest version for the whole organization; returns the installation."""
        body = {"pluginId": plugin_id, "config": config or {}}
        return await self._call("POST", "/api/plugins/install", "owner", json=body)

    async def activate(self, installation_id: str) -> Json:
        return await self._call("POST", f"/api/plugins/{installation_id}/activate", "owner")

    async def deactivate(self, installation_id: str, *, backlog: Backlog = "pause") -> Json:
        """``backlog`` says what becomes of its events: kept until it is activated again, run, or given up."""
        return await self._call("POST", f"/api/plugins/{installation_id}/deactivate?backlog={backlog}", "owner")

    async def installation(self, installation_id: str) -> Json:
        """The installation's details, with ``rollout``: how many workers live, and how many know its present state."""
        return await self._call("GET", f"/api/plugins/{installation_id}", "owner")

    async def components(self, injection_point: str, store: str) -> list[Json]:
        """What belongs on a screen of this store, as a cashier there sees it, in order."""
        answer = await self._call("GET", f"/api/plugins/ui-components/{injection_point}", "cashier", store)
        return list(answer["components"])

    async def route(
        self, method: str, plugin_id: str, path: str, *, store: str, body: Json | None = None
    ) -> httpx.Response:
        """A plugin's own route, called by a cashier of ``store``; the answer as it is."""
        return await self._http.request(
            method, f"/api/plugins/{plugin_id}/api{path}", json=body, headers=self._authorization("cashier", store)
        )

    async def _call(
        self,
        method: str,
        path: str,
        role: Role,
        store: str | None = None,
        *,
        headers: dict[str, str] | None = None,
        json: Json | None = None,
        content: bytes | None = None,
    ) -> Json:
        response = await self._http.request(
            method, path, json=json, content=content, headers={**self._authorization(role, store), **(headers or {})}
        )
        if response.is_error:
            raise refusal(response)
        return dict(response.json())

    def _authorization(self, role: Role, store: str | None) -> dict[str, str]:
        organization = self._publisher if role == "publisher" else self._organization
        return {"authorization": f"Bearer {self._token(role, organization, store=store)}"}


def refusal(response: httpx.Response) -> Refused:
    """The problem in an error answer; one that is no problem document is named ``unknown``."""
    if "json" in response.headers.get("content-type", ""):
        problem = response.json()
        return Refused(response.status_code, problem.get("code", "unknown"), problem.get("detail", ""))
    return Refused(response.status_code, "unknown", response.text[:200])
