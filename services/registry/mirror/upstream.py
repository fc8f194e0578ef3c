"""Another registry, asked over HTTP. Nothing of what it says is believed here: see sync."""

from collections.abc import AsyncIterator
from urllib.parse import quote

import httpx
from pydantic import ValidationError

from outlet.package import MAX_BYTES
from services.common.wire import Page
from services.registry.mirror.schemas import MirroredVersion

TIMEOUT_SECONDS = 30.0
MOST_PAGES = 10_000
MARKETPLACE = "/api/plugins/marketplace"


class UpstreamUnavailable(OSError):
    """The other registry did not answer as one does."""


def open_upstream(url: str, token: str) -> httpx.AsyncClient:
    """A client for the gateway of another platform. It follows no redirect, which could lead the token elsewhere."""
    return httpx.AsyncClient(
        base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=TIMEOUT_SECONDS, trust_env=False
    )


class Upstream:
    """What another registry tells. All methods raise UpstreamUnavailable."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def versions(self) -> AsyncIterator[MirroredVersion]:
        """All public versions."""
        cursor: dict[str, str] = {}
        for _ in range(MOST_PAGES):
            page = await self._page(cursor)
            for version in page.items:
                yield version
            if page.next_cursor is None:
                return
            cursor = {"cursor": page.next_cursor}
        raise UpstreamUnavailable(f"the upstream registry has more than {MOST_PAGES} pages, or repeats itself")

    async def package(self, plugin_id: str, version: str) -> bytes:
        """The bytes it has for a version: not more than a package may have."""
        path = f"{MARKETPLACE}/{quote(plugin_id, safe='')}/versions/{quote(version, safe='')}/package"
        data = bytearray()
        try:
            async with self._client.stream("GET", path) as response:
                response.raise_for_status()
                async for chunk in response.aiter_bytes():
                    data += chunk
                    if len(data) > MAX_BYTES:
                        raise UpstreamUnavailable(f"the package of {plugin_id} {version} is larger than packages are")
        except httpx.HTTPError as error:
            raise UpstreamUnavailable(f"the package of {plugin_id} {version} cannot be fetched: {error!r}") from error
        return bytes(data)

    async def _page(self, cursor: dict[str, str]) -> Page[MirroredVersion]:
        try:
            response = await self._client.get(f"{MARKETPLACE}/mirror", params={"limit": "100", **cursor})
            response.raise_for_status()
            return Page[MirroredVersion].model_validate_json(response.content)
        except (httpx.HTTPError, ValidationError) as error:
            raise UpstreamUnavailable(f"the upstream registry cannot be read: {error!r}") from error
