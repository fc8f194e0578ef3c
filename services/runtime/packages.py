"""Plugin packages, fetched from the registry by digest, and verified at every load."""

from collections import OrderedDict
from http import HTTPStatus

import httpx

from outlet.signing import SignatureError, Statement
from services.common.provenance import check_package
from services.common.runtime_client import PACKAGE_UNTRUSTED, PlatformRefusal
from services.runtime.sandbox import GuestKey

KEPT = 64
TIMEOUT_SECONDS = 10.0


class PackageUnavailable(OSError):
    """The registry could not hand over a package now. Says nothing of the plugin."""


class PackageStore:
    """The last packages used, in memory.

    Nothing that comes from the registry's storage is believed: what is loaded has the digest that the installation
    names, and the publisher's key has signed it as this plugin and version.
    """

    def __init__(self, registry: httpx.AsyncClient) -> None:
        self._registry = registry
        self._kept: OrderedDict[str, bytes] = OrderedDict()

    async def fetch(self, key: GuestKey) -> bytes:
        """The bytes of the package of an installation.

        Raises PackageUnavailable, or PlatformRefusal (``package_untrusted``) when they must not be run.
        """
        data = self._kept.get(key.digest)
        if data is None:
            data = await self._download(key.digest)
        expected = Statement(plugin_id=key.plugin_id, version=key.version, digest=key.digest)
        try:
            check_package(data, key.provenance, expected)
        except SignatureError as error:
            raise PlatformRefusal(PACKAGE_UNTRUSTED, f"{key.plugin_id} {key.version} is not run: {error}") from error
        self._kept[key.digest] = data
        self._kept.move_to_end(key.digest)
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return data

    async def _download(self, digest: str) -> bytes:
        try:
            response = await self._registry.get(f"/internal/packages/{digest}", timeout=TIMEOUT_SECONDS)
            if response.status_code == HTTPStatus.CONFLICT:
                raise PlatformRefusal(PACKAGE_UNTRUSTED, f"the registry finds another package stored as {digest}")
            response.raise_for_status()
        except httpx.HTTPError as error:
            raise PackageUnavailable(f"package {digest} cannot be fetched: {error!r}") from error
        return response.content
