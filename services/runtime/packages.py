"""Plugin packages, fetched from the registry by digest."""

import hashlib
from collections import OrderedDict

import httpx

KEPT = 64
TIMEOUT_SECONDS = 10.0


class PackageUnavailable(OSError):
    """The registry could not hand over a package now. Says nothing of the plugin."""


class PackageStore:
    """The last packages used, in memory; what comes from the network is believed only when its digest is right."""

    def __init__(self, registry: httpx.AsyncClient) -> None:
        self._registry = registry
        self._kept: OrderedDict[str, bytes] = OrderedDict()

    async def fetch(self, digest: str) -> bytes:
        """The bytes of the package ``sha256:<hex>``. Raises PackageUnavailable."""
        if digest not in self._kept:
            self._kept[digest] = await self._download(digest)
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(digest)
        return self._kept[digest]

    async def _download(self, digest: str) -> bytes:
        try:
            response = await self._registry.get(f"/internal/packages/{digest}", timeout=TIMEOUT_SECONDS)
            response.raise_for_status()
        except httpx.HTTPError as error:
            raise PackageUnavailable(f"package {digest} cannot be fetched: {error!r}") from error
        if f"sha256:{hashlib.sha256(response.content).hexdigest()}" != digest:
            raise PackageUnavailable(f"what the registry sent for {digest} has another digest")
        return response.content
