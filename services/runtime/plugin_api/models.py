"""The methods of models: ``models.find``, ``models.create``, ... on sales, products, customers, employees, stores."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from outlet._rules.arguments.models import Aggregate, Create, Delete, Find, Get, ModelName, Update
from services.common.events import ORGANIZATION_WIDE
from services.runtime.commerce.personal_data import GRANTS, personal_members
from services.runtime.plugin_api.documents import encode_document
from services.runtime.plugin_api.entities import Entities, Stored
from services.runtime.plugin_api.entity_changes import Change, merged, plain
from services.runtime.plugin_api.entity_fields import IDENTITY, EntityFields
from services.runtime.plugin_api.errors import ApiRefusal
from services.runtime.plugin_api.groups import Context, Group, method
from services.runtime.plugin_api.permissions import granted, require
from services.runtime.plugin_api.reach import Reach

MAX_DOCUMENT_BYTES = 512 * 1024
MAX_NAME_LENGTH = 200
_NAME_RULE = f"1 to {MAX_NAME_LENGTH} printable characters"


class Models(Group):
    """The stores' entities, as far as this installation was granted them."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._reach = Reach(self.installation)
        self._changes = 0

    @method("models.find", Find)
    async def find(self, call: Find) -> dict[str, Any]:
        async with self._reading(call.model) as entities:
            found, cursor = await entities.find(call.where, call.sort, call.limit, call.cursor)
        return {"items": found, "cursor": cursor}

    @method("models.get", Get)
    async def get(self, call: Get) -> dict[str, Any] | None:
        async with self._reading(call.model) as entities:
            stored = await self._locate(entities, call)
            return None if stored is None else entities.visible(stored)

    @method("models.aggregate", Aggregate)
    async def aggregate(self, call: Aggregate) -> list[dict[str, Any]]:
        async with self._reading(call.model) as entities:
            return await entities.aggregate(call.where, call.group_by, call.functions)

    @method("models.create", Create)
    async def create(self, call: Create) -> dict[str, Any]:
        values, store = plain(call.values), self._store_for(call.store)
        async with self._changing(call.model, "create") as (entities, change):
            entity_id = values.pop("id", change.id)
            if not isinstance(entity_id, str) or not _is_name(entity_id):
                raise ApiRefusal("invalid_value", f"id: {_NAME_RULE}")
            if values.get("storeId", store) != store:
                raise ApiRefusal("invalid_value", f"storeId: it is created in {store!r:.80}; say another with store")
            require(self.installation.at(store), f"{call.model}:create", f"create a {call.model} in {store!r:.80}")
            stored = Stored(store, entity_id, {"id": entity_id, **values})
            self._check_people(call.model, {}, stored)
            text = encode_document(stored.document, limit=MAX_DOCUMENT_BYTES)
            await change.publish("created", stored, text, await entities.insert(store, entity_id, text))
            return self._answer(entities, call.model, stored)

    @method("models.update", Update)
    async def update(self, call: Update) -> dict[str, Any] | None:
        values = plain(call.values)
        if fixed := [name for name in IDENTITY if name in values]:
            raise ApiRefusal("invalid_value", f"{fixed[0]}: it cannot change")
        async with self._changing(call.model, "update") as (entities, change):
            before = await self._locate(entities, call, lock=True)
            if before is None:
                return None
            stored = Stored(before.store, before.id, merged(before.document, values))
            self._check_people(call.model, before.document, stored)
            text = encode_document(stored.document, limit=MAX_DOCUMENT_BYTES)
            await change.publish("updated", stored, text, await entities.replace(stored, text))
            return self._answer(entities, call.model, stored)

    @method("models.delete", Delete)
    async def delete(self, call: Delete) -> bool:
        async with self._changing(call.model, "delete") as (entities, change):
            stored = await self._locate(entities, call, lock=True)
            if stored is None:
                return False
            text = encode_document(stored.document, limit=MAX_DOCUMENT_BYTES)
            await change.publish("deleted", stored, text, await entities.replace(stored, None))
            return True

    @asynccontextmanager
    async def _reading(self, model: ModelName) -> AsyncIterator[Entities]:
        require(self.installation, f"{model}:read", f"read a {model}")
        async with self.work.use(writes=False) as connection:
            yield self._entities(model, connection, "read")

    @asynccontextmanager
    async def _changing(self, model: ModelName, verb: str) -> AsyncIterator[tuple[Entities, Change]]:
        require(self.installation, f"{model}:{verb}", f"{verb} a {model}")
        self._changes += 1
        number = self._changes
        async with self.work.use(writes=True) as connection:
            yield self._entities(model, connection, verb), Change(connection, self.invocation, model, number)

    def _entities(self, model: ModelName, connection: asyncpg.Connection, verb: str) -> Entities:
        fields = EntityFields(model, self._reach.hidden)
        return Entities(connection, fields, self.invocation.scope, self._reach, f"{model}:{verb}")

    async def _locate(self, entities: Entities, call: Get | Update | Delete, *, lock: bool = False) -> Stored | None:
        if "\0" in call.id or "\0" in (call.store or ""):
            return None
        return await entities.locate(call.id, call.store, self.invocation.store, lock=lock)

    def _store_for(self, asked: str | None) -> str:
        """Where a new entity belongs. Raises ApiRefusal."""
        own = self.installation.store_id
        if own is not None and asked not in (None, own):
            raise ApiRefusal("permission_denied", f"the plugin is installed in store {own!r:.80} only")
        store = own or (self.invocation.store if asked is None else asked)
        if store is None or (asked is None and store == ORGANIZATION_WIDE):
            raise ApiRefusal("invalid_value", "say in which store it is created: this call is of none")
        if not _is_name(store):
            raise ApiRefusal("invalid_value", f"store: {_NAME_RULE}")
        return store

    def _check_people(self, model: ModelName, before: dict[str, Any], after: Stored) -> None:
        """Raise ApiRefusal when a change writes or removes what the installation may not see."""
        hidden = self._reach.hidden_in(after.store)
        known, wanted = (personal_members(model, document, hidden) for document in (before, after.document))
        if known == wanted:
            return
        path = next(path for path in {**wanted, **known} if known.get(path) != wanted.get(path))
        needed = " or ".join(GRANTS[kind] for kind in sorted(hidden))
        raise ApiRefusal(
            "permission_denied", f"{'.'.join(map(str, path))} is personal data: {needed} is needed to change it"
        )

    def _answer(self, entities: Entities, model: ModelName, stored: Stored) -> dict[str, Any]:
        """A changed entity, as much of it as the installation may read."""
        read = f"{model}:read"
        if granted(self.installation, read) and granted(self.installation.at(stored.store), read):
            return entities.visible(stored)
        return {"id": stored.id, "storeId": stored.store}


def _is_name(text: str) -> bool:
    return 0 < len(text) <= MAX_NAME_LENGTH and text.isprintable()
