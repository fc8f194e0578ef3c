"""``places.store`` and ``places.organization``: where the plugin is at work, as the replica knows it."""

from typing import Any

from services.common.events import ORGANIZATION_WIDE
from services.runtime.commerce.personal_data import redact
from services.runtime.plugin_api.documents import decode_document
from services.runtime.plugin_api.errors import ApiRefusal
from services.runtime.plugin_api.groups import Arguments, Group, method
from services.runtime.plugin_api.reach import Reach

MAX_STORES = 5_000

_STORE = """
SELECT data FROM store WHERE organization_id = $1 AND store_id = $2 AND id = $2 AND data IS NOT NULL
"""
_STORES = """
SELECT DISTINCT store_id FROM store WHERE organization_id = $1 AND ($2::text IS NULL OR store_id = $2)
AND data IS NOT NULL ORDER BY store_id LIMIT $3
"""


class AskStore(Arguments):
    store: str | None = None


class AskOrganization(Arguments):
    """No arguments."""


class Places(Group):
    """The installation's organization and its stores."""

    @method("places.store", AskStore)
    async def store(self, call: AskStore) -> dict[str, Any] | None:
        """The store's entity as last published with its ``id``; None when there is no store to speak of."""
        store = call.store or self.invocation.store
        if store is None or store == ORGANIZATION_WIDE:
            return None
        if not self.installation.covers(store):
            raise ApiRefusal("wrong_store", f"the plugin is installed in store {self.installation.store_id!r} only")
        async with self.work.use(writes=False) as connection:
            text = await connection.fetchval(_STORE, self.installation.organization_id, store)
        known: dict[str, Any] = {} if text is None else decode_document(text)
        redact("store", known, Reach(self.installation).hidden_in(store))
        return {**known, "id": store}

    @method("places.organization", AskOrganization)
    async def organization(self, _: AskOrganization) -> dict[str, Any]:
        """The organization's ``id``, and the ids of those of its ``stores`` that the installation covers."""
        own = self.installation
        async with self.work.use(writes=False) as connection:
            rows = await connection.fetch(_STORES, own.organization_id, own.store_id, MAX_STORES)
        return {"id": own.organization_id, "stores": [row["store_id"] for row in rows]}
