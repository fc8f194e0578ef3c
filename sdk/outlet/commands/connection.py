"""A platform's gateway, a token for it, and what authors' commands ask of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx

from outlet.commands.gateway import local_token, send
from outlet.commands.packages import LOCAL_PUBLISHER
from outlet.local.errors import PlatformError

Json = dict[str, Any]
PAGE = 200


@dataclass(frozen=True)
class Connection:
    """``token`` is an owner's or admin's of one organization, ``publisher`` one that may publish."""

    url: str
    token: str
    publisher: str
    client: httpx.Client | None = None

    def ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        """One request in the organization's name. Raises PlatformError."""
        return send(self.url, self.token, method, path, client=self.client, **request)

    def plugin(self, plugin_id: str) -> Json:
        """A plugin of the marketplace. Raises PlatformError when there is none."""
        for entry in self._all("/api/plugins/marketplace", search=plugin_id):
            if entry["pluginId"] == plugin_id:
                return entry
        raise PlatformError(f"the marketplace has no plugin {plugin_id!r}", "Publish it first: outlet publish FOLDER")

    def installation(self, wanted: str) -> Json:
        """An installation by its id, or by its plugin's id when there is one of it. Raises PlatformError."""
        found = list(self._all("/api/plugins", pluginId=wanted))
        if len(found) > 1:
            places = ", ".join(f"{each['id']} ({each['storeId'] or 'the organization'})" for each in found)
            raise PlatformError(f"{wanted} is installed {len(found)} times", f"Name one by its id: {places}")
        return found[0] if found else dict(self.ask("GET", f"/api/plugins/{wanted}").json())

    def _all(self, path: str, **filters: str) -> Iterator[Json]:
        cursor: str | None = None
        while True:
            page: Json = {"limit": PAGE, **filters} | ({"cursor": cursor} if cursor else {})
            answer = self.ask("GET", path, params=page).json()
            yield from answer["items"]
            cursor = answer.get("nextCursor")
            if cursor is None:
                return


def connect(
    url: str,
    token: str | None,
    organization: str | None,
    directory: Path,
    *,
    publisher: str | None = None,
    lifetime: timedelta = timedelta(hours=1),
) -> Connection:
    """A platform with tokens for it. Raises PlatformError when nobody said for which organization."""
    if token is not None:
        return Connection(url, token, publisher or token)
    if organization is None:
        raise PlatformError(
            "for which organization?", "Give a token (--token, OUTLET_TOKEN) or, on this machine, --org."
        )
    own = local_token(url, directory, "owner", organization, lifetime=lifetime)
    return Connection(
        url, own, publisher or local_token(url, directory, "publisher", LOCAL_PUBLISHER, lifetime=lifetime)
    )
