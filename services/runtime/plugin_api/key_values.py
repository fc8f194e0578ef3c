"""The methods of key-value data: ``data.get``, ``data.set``, ``data.delete``, ``data.increment``, ``data.list``."""

from decimal import Decimal
from typing import Any

import asyncpg

from outlet._rules.arguments.data import Get, Increment, List, Set
from outlet._rules.key_values import (
    MAX_KEYS,
    MAX_PAGE_BYTES,
    MAX_VALUE_BYTES,
    check_key,
    check_limit,
    check_step,
    check_text,
    read_lifetime,
)
from services.runtime.plugin_api.documents import encode_document
from services.runtime.plugin_api.groups import Group, method
from services.runtime.plugin_api.key_value_store import KeyValueStore


class KeyValues(Group):
    """JSON values of this installation under keys of its own choice."""

    @method("data.get", Get)
    async def get(self, call: Get) -> list[Any]:
        key = check_key(call.key)
        async with self.work.use(writes=False) as connection:
            return await self._store(connection).get(key)

    @method("data.set", Set)
    async def set(self, call: Set) -> None:
        key, lifetime = check_key(call.key), read_lifetime(call.expires_in)
        document = encode_document(call.value, limit=MAX_VALUE_BYTES)
        async with self.work.use(writes=True) as connection:
            await self._store(connection).set(key, document, lifetime)

    @method("data.delete", Get)
    async def delete(self, call: Get) -> bool:
        key = check_key(call.key)
        async with self.work.use(writes=True) as connection:
            return await self._store(connection).delete(key)

    @method("data.increment", Increment)
    async def increment(self, call: Increment) -> int | Decimal:
        key, lifetime = check_key(call.key), read_lifetime(call.expires_in)
        by = check_step(call.by)
        async with self.work.use(writes=True) as connection:
            return await self._store(connection).increment(key, by, lifetime)

    @method("data.list", List)
    async def list(self, call: List) -> dict[str, Any]:
        """``items``: pairs of key and value; ``cursor``: where the next page begins, None after the last one."""
        check_limit(call.limit)
        prefix, after = (check_text("prefix", part) for part in (call.prefix, call.cursor or ""))
        async with self.work.use(writes=False) as connection:
            items, more = await self._store(connection).list(prefix, after, call.limit, MAX_PAGE_BYTES)
        return {"items": items, "cursor": items[-1][0] if more else None}

    def _store(self, connection: asyncpg.Connection) -> KeyValueStore:
        return KeyValueStore(connection, self.installation.id, MAX_KEYS)
