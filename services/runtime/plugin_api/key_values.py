"""The methods of key-value data: ``data.get``, ``data.set``, ``data.delete``, ``data.increment``, ``data.list``."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import asyncpg

from services.runtime.plugin_api.documents import encode_document
from services.runtime.plugin_api.errors import ApiRefusal
from services.runtime.plugin_api.groups import Arguments, Group, method
from services.runtime.plugin_api.key_value_store import KeyValueStore

MAX_KEY = 256
MAX_VALUE_BYTES = 64 * 1024
MAX_KEYS = 10_000
MAX_LIST = 1_000
MAX_PAGE_BYTES = 192 * 1024
"""A page ends here at the latest: an answer is one frame of at most 256 KiB."""
MAX_LIFETIME = timedelta(days=3_660)


class Get(Arguments):
    key: str


class Set(Arguments):
    key: str
    value: Any
    expires_in: float | None = None


class Increment(Arguments):
    key: str
    by: Any = 1
    expires_in: float | None = None


class List(Arguments):
    prefix: str = ""
    limit: int = 100
    cursor: str | None = None


class KeyValues(Group):
    """JSON values of this installation under keys of its own choice."""

    @method("data.get", Get)
    async def get(self, call: Get) -> list[Any]:
        key = _key(call.key)
        async with self.work.use(writes=False) as connection:
            return await self._store(connection).get(key)

    @method("data.set", Set)
    async def set(self, call: Set) -> None:
        key, lifetime = _key(call.key), _lifetime(call.expires_in)
        document = encode_document(call.value, limit=MAX_VALUE_BYTES)
        async with self.work.use(writes=True) as connection:
            await self._store(connection).set(key, document, lifetime)

    @method("data.delete", Get)
    async def delete(self, call: Get) -> bool:
        key = _key(call.key)
        async with self.work.use(writes=True) as connection:
            return await self._store(connection).delete(key)

    @method("data.increment", Increment)
    async def increment(self, call: Increment) -> int | Decimal:
        key, lifetime = _key(call.key), _lifetime(call.expires_in)
        by = call.by
        if isinstance(by, bool) or not isinstance(by, int | Decimal) or not -100 < Decimal(by).adjusted() < 100:
            raise ApiRefusal("invalid_value", f"by: {by!r:.80} is no whole number and no Decimal (below 100 digits)")
        async with self.work.use(writes=True) as connection:
            return await self._store(connection).increment(key, Decimal(by), lifetime)

    @method("data.list", List)
    async def list(self, call: List) -> dict[str, Any]:
        """``items``: pairs of key and value; ``cursor``: where the next page begins, None after the last one."""
        if not 1 <= call.limit <= MAX_LIST:
            raise ApiRefusal("invalid_limit", f"limit is 1 to {MAX_LIST}")
        prefix, after = (_text("prefix", part) for part in (call.prefix, call.cursor or ""))
        async with self.work.use(writes=False) as connection:
            items, more = await self._store(connection).list(prefix, after, call.limit, MAX_PAGE_BYTES)
        return {"items": items, "cursor": items[-1][0] if more else None}

    def _store(self, connection: asyncpg.Connection) -> KeyValueStore:
        return KeyValueStore(connection, self.installation.id, MAX_KEYS)


def _key(key: str) -> str:
    if not key:
        raise ApiRefusal("invalid_key", "a key has at least one character")
    return _text("key", key)


def _text(name: str, text: str) -> str:
    if len(text) > MAX_KEY or "\0" in text:
        raise ApiRefusal("invalid_key", f"{name}: at most {MAX_KEY} characters, none of them NUL")
    return text


def _lifetime(seconds: float | None) -> timedelta | None:
    if seconds is None:
        return None
    if not 0 < seconds <= MAX_LIFETIME.total_seconds():
        raise ApiRefusal("invalid_value", f"expires_in: seconds above 0, at most {MAX_LIFETIME.days} days")
    return timedelta(seconds=seconds)
