"""A plugin under development in an organization: each state of its files is a version of its own, of which one runs."""

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from outlet import package as packages
from outlet.commands.connection import Connection
from outlet.commands.packages import upload
from outlet.local.errors import PlatformError

if TYPE_CHECKING:
    from joserfc.jwk import OKPKey

Json = dict[str, Any]


class Development:
    """Publishes development versions (``1.0.0-dev.<milliseconds>``) and installs the newest; the data stays."""

    def __init__(self, platform: Connection, folder: Path, settings: Json, signer: "OKPKey", level: str) -> None:
        self._platform = platform
        self._folder = folder
        self._settings = settings
        self._signer = signer
        self._level = level
        self._installation: str | None = None
        self._news = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def load(self, *, fresh: bool) -> Json:
        """Build, publish, install and activate; the installation. May be called from any thread.

        ``fresh``: what an earlier installation stored is dropped. Raises PackageError, and what ran goes on running;
        PlatformError, when the platform refuses it.
        """
        built = packages.build(self._folder)
        plain = built.manifest.version.partition("-")[0].partition("+")[0]
        built = packages.with_version(built, f"{plain}-dev.{time.time_ns() // 1_000_000}")
        platform = self._platform
        upload(built, platform.url, platform.publisher, self._signer, self._level, platform.client)
        former = self._installation or self._known(built.manifest.plugin_id)
        if former is not None:
            self._remove(former, data="drop" if fresh else "keep")
        body = {"pluginId": built.manifest.plugin_id, "version": built.manifest.version, "config": self._settings}
        made: Json = self._platform.ask("POST", "/api/plugins/install", json=body).json()
        self._installation = str(made["id"])
        made = self._platform.ask("POST", f"/api/plugins/{made['id']}/activate").json()
        self._loop.call_soon_threadsafe(self._tell)
        return made

    def _remove(self, installation: str, *, data: str) -> None:
        """Uninstall, whatever its hooks make of it: they may be what is being put right."""
        path = f"/api/plugins/{installation}"
        if self._platform.ask("GET", path).json()["status"] == "active":
            self._platform.ask("POST", f"{path}/deactivate", params={"backlog": "discard"})
        self._platform.ask("DELETE", path, params={"data": data, "force": "true"})
        self._installation = None

    async def installed(self) -> str:
        """The id of the installation, once there is one."""
        while self._installation is None:
            await self._news.wait()
        return self._installation

    async def changed(self, known: str) -> None:
        """Wait until another installation than ``known`` runs."""
        while self._installation == known:
            await self._news.wait()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    def _known(self, plugin_id: str) -> str | None:
        """What an earlier run has left. Raises PlatformError when the plugin is installed otherwise."""
        found = self._platform.ask("GET", "/api/plugins", params={"pluginId": plugin_id}).json()["items"]
        for each in found:
            if "-dev." not in each["version"]:
                raise PlatformError(
                    f"{plugin_id} {each['version']} is installed already, and not for development",
                    "Use another organization (--org), or uninstall it there first.",
                )
        return str(found[0]["id"]) if found else None
