"""Key-value data in memory: ``data.get``, ``data.set``, ``data.delete``, ``data.increment``, ``data.list``."""

from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from outlet._rules.arguments.data import Get, Increment, List, Set
from outlet._rules.documents import decode_document, encode_document
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
from outlet._rules.refusal import ApiRefusal
from outlet.testing._groups import Group, method
from outlet.testing._numbers import EXACT
from outlet.testing._store import Collection


class Entry(NamedTuple):
    """JSON text, and when it is gone."""

    text: str
    expires: datetime | None


def values(installation_id: str) -> Collection:
    """Where the entries of an installation are."""
    return ("values", installation_id)


class KeyValues(Group):
    """JSON values of this installation under keys of its own choice."""

    @method("data.get", Get)
    async def get(self, call: Get) -> list[Any]:
        key = check_key(call.key)
        self.reads()
        found = self._live(key)
        return [] if found is None else [decode_document(found.text)]

    @method("data.set", Set)
    async def set(self, call: Set) -> None:
        key, expires = check_key(call.key), self._expires(call.expires_in)
        document = encode_document(call.value, limit=MAX_VALUE_BYTES)
        self.writes()
        self._put(key, Entry(document, expires))

    @method("data.delete", Get)
    async def delete(self, call: Get) -> bool:
        key = check_key(call.key)
        self.writes()
        found = self._live(key)
        self.work.drop(self._place, key)
        return found is not None

    @method("data.increment", Increment)
    async def increment(self, call: Increment) -> int | Decimal:
        key, expires, by = check_key(call.key), self._expires(call.expires_in), check_step(call.by)
        self.writes()
        found = self._live(key)
        known = Decimal(0) if found is None else decode_document(found.text)
        if isinstance(known, bool) or not isinstance(known, int | Decimal):
            raise ApiRefusal("not_a_number", f"the value of {key!r:.80} is no number")
        text = f"{EXACT.add(Decimal(known), by):f}"
        self._put(key, Entry(text, expires if found is None else found.expires))
        number: int | Decimal = decode_document(text)
        return number

    @method("data.list", List)
    async def list(self, call: List) -> dict[str, Any]:
        check_limit(call.limit)
        prefix, after = (check_text("prefix", part) for part in (call.prefix, call.cursor or ""))
        self.reads()
        keys = sorted(key for key, _ in self.work.scan(self._place) if key.startswith(prefix) and key > after)
        page: list[tuple[str, Any]] = []
        size, more = MAX_PAGE_BYTES, False
        for key in keys:
            found = self._live(key)
            if found is None:
                continue
            size -= len(found.text.encode()) + len(key.encode())
            if len(page) == call.limit or (page and size < 0):
                more = True
                break
            page.append((key, decode_document(found.text)))
        return {"items": page, "cursor": page[-1][0] if more else None}

    @property
    def _place(self) -> Collection:
        return values(self.plugin.id)

    def _live(self, key: str) -> Entry | None:
        found: Entry | None = self.work.get(self._place, key)
        if found is None or (found.expires is not None and found.expires <= self.platform.now):
            return None
        return found

    def _put(self, key: str, entry: Entry) -> None:
        taken = sum(self._live(known) is not None for known, _ in self.work.scan(self._place))
        if self._live(key) is None and taken >= MAX_KEYS:
            raise ApiRefusal("too_many_keys", f"an installation has at most {MAX_KEYS} keys: delete some first")
        self.work.put(self._place, key, entry)

    def _expires(self, seconds: float | None) -> datetime | None:
        lifetime = read_lifetime(seconds)
        return None if lifetime is None else self.platform.now + lifetime
