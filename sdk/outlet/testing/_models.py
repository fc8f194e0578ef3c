"""The stores' entities in memory: ``models.find``, ``models.create``, ..., and where the plugin is at work."""

import copy
import json
from collections.abc import Iterator
from typing import Any

from outlet._rules.arguments.models import Aggregate, AskOrganization, AskStore, Create, Find, Get, ModelName, Update
from outlet._rules.changes import merged, plain
from outlet._rules.documents import decode_document, encode_document
from outlet._rules.permissions import require
from outlet._rules.personal_data import GRANTS, hidden_from, personal_members, redact
from outlet._rules.refusal import ApiRefusal
from outlet._rules.tables import AGGREGATES, MAX_ROWS
from outlet.testing import _numbers
from outlet.testing._documents import ABSENT, Entity, Fields, number_of, text_of
from outlet.testing._filters import Filter, identity
from outlet.testing._groups import Group, method
from outlet.testing._observed import Published
from outlet.testing._orders import Order
from outlet.testing._store import Collection

MAX_DOCUMENT_BYTES = 512 * 1024
ANSWER_BYTES = 160 * 1024
MAX_NAME_LENGTH = 200
_NAME_RULE = f"1 to {MAX_NAME_LENGTH} printable characters"
EVERY_STORE = "*"

Document = dict[str, Any]


def entities(organization: str, model: str) -> Collection:
    """Where an organization's entities of one kind are."""
    return ("entities", organization, model)


class Models(Group):
    """The stores' entities, as far as this installation was granted them."""

    @method("models.find", Find)
    async def find(self, call: Find) -> dict[str, Any]:
        self._require(call.model, "read")
        self.reads()
        if not 1 <= call.limit <= MAX_ROWS:
            raise ApiRefusal("invalid_limit", f"limit is 1 to {MAX_ROWS}")
        fields = self._fields(call.model)
        order = Order(fields, call.sort)
        found = sorted(self._matching(call.model, call.where), key=lambda entity: order.place(order.keys(entity)))
        if call.cursor is not None:
            after = order.after(call.cursor)
            found = [entity for entity in found if order.place(order.keys(entity)) > after]
        page, size = 0, 0
        while page < min(len(found), call.limit) and (page == 0 or size + _size(found[page]) <= ANSWER_BYTES):
            size += _size(found[page])
            page += 1
        cursor = order.cursor(found[page - 1]) if page < len(found) else None
        return {"items": [self._visible(call.model, entity) for entity in found[:page]], "cursor": cursor}

    @method("models.get", Get)
    async def get(self, call: Get) -> Document | None:
        self._require(call.model, "read")
        self.reads()
        found = self._locate(call.model, call.id, call.store)
        return None if found is None else self._visible(call.model, found)

    @method("models.aggregate", Aggregate)
    async def aggregate(self, call: Aggregate) -> list[Document]:
        self._require(call.model, "read")
        self.reads()
        fields = self._fields(call.model)
        keys = [fields.find(name) for name in call.group_by]
        asked = []
        for function, names in call.functions.items():
            if function not in AGGREGATES:
                raise ApiRefusal("invalid_aggregate", f"{function!r} is none of {', '.join(AGGREGATES)}")
            asked += [(function, name, fields.find(name)) for name in names]
        groups: dict[Any, list[Entity]] = {} if keys else {(): []}
        for entity in self._matching(call.model, call.where):
            groups.setdefault(tuple(identity(_scalar(key(entity))) for key in keys), []).append(entity)
        answer: list[tuple[Any, Document]] = []
        for members in groups.values():
            values = [_scalar(key(members[0])) for key in keys]
            group = dict(zip(call.group_by, values, strict=True))
            for function, name, field in asked:
                numbers = [number for member in members if (number := number_of(field(member))) is not None]
                group[f"{function}_{name}"] = _aggregated(function, numbers)
            answer.append(([_ordered(value) for value in values], group | {"count": len(members)}))
        answer.sort(key=lambda pair: pair[0])
        return [group for _, group in answer[:MAX_ROWS]]

    @method("models.create", Create)
    async def create(self, call: Create) -> Document:
        values, store = plain(call.values), self._store_for(call.store)
        self._require(call.model, "create")
        work = self.writes()
        entity_id = values.pop("id") if "id" in values else self.platform.new_id()
        if not isinstance(entity_id, str) or not _is_name(entity_id):
            raise ApiRefusal("invalid_value", f"id: {_NAME_RULE}")
        if values.get("storeId", store) != store:
            raise ApiRefusal("invalid_value", f"storeId: it is created in {store!r:.80}; say another with store")
        document = {"id": entity_id, **values}
        self._check_people(call.model, {}, document)
        text = encode_document(document, limit=MAX_DOCUMENT_BYTES)
        place = entities(self.plugin.organization, call.model)
        if work.get(place, (store, entity_id)) is not None:
            raise ApiRefusal("unique_violation", f"there is a {call.model} {entity_id!r:.80} already")
        return self._keep(call.model, "created", Entity(store, entity_id, document), text)

    @method("models.update", Update)
    async def update(self, call: Update) -> Document | None:
        values = plain(call.values)
        if fixed := [name for name in ("id", "storeId") if name in values]:
            raise ApiRefusal("invalid_value", f"{fixed[0]}: it cannot change")
        self._require(call.model, "update")
        self.writes()
        before = self._locate(call.model, call.id, call.store)
        if before is None:
            return None
        document = merged(before.document, values)
        self._check_people(call.model, before.document, document)
        text = encode_document(document, limit=MAX_DOCUMENT_BYTES)
        return self._keep(call.model, "updated", Entity(before.store, before.id, document), text)

    @method("models.delete", Get)
    async def delete(self, call: Get) -> bool:
        self._require(call.model, "delete")
        work = self.writes()
        found = self._locate(call.model, call.id, call.store)
        if found is None:
            return False
        work.drop(entities(self.plugin.organization, call.model), (found.store, found.id))
        self._publish(call.model, "deleted", found)
        return True

    def _keep(self, model: ModelName, verb: str, entity: Entity, text: str) -> Document:
        """Write an entity, and answer as much of it as the installation may read, as the plugin has put it."""
        kept = Entity(entity.store, entity.id, decode_document(text))
        self.work.put(entities(self.plugin.organization, model), (kept.store, kept.id), kept.document)
        self._publish(model, verb, kept)
        if f"{model}:read" in self.plugin.grants:
            return self._visible(model, entity)
        return {"id": entity.id, "storeId": entity.store}

    def _publish(self, model: str, verb: str, entity: Entity) -> None:
        event = Published(f"{model}.{verb}", copy.deepcopy(entity.document), entity.store)
        self.invocation.leave(self.work, "published", event)

    def _require(self, model: str, verb: str) -> None:
        require(self.plugin.manifest, self.plugin.grants, f"{model}:{verb}", f"{verb} a {model}")

    def _fields(self, model: str) -> Fields:
        return Fields(model, hidden_from(tuple(self.plugin.grants)))

    def _visible(self, model: str, entity: Entity) -> Document:
        document = copy.deepcopy(entity.document)
        redact(model, document, hidden_from(tuple(self.plugin.grants)))
        return {**document, "id": entity.id, "storeId": entity.store}

    def _covered(self, model: str) -> Iterator[Entity]:
        own = self.plugin.store
        for (store, entity_id), document in self.work.scan(entities(self.plugin.organization, model)):
            if own is None or store == own:
                yield Entity(store, entity_id, document)

    def _matching(self, model: str, where: Any) -> Iterator[Entity]:
        test = Filter(self._fields(model).compare).read(where or {})
        return (entity for entity in self._covered(model) if test(entity))

    def _locate(self, model: str, entity_id: str, store: str | None) -> Entity | None:
        """In ``store``; else where the call is from; else in the only store that has one. Raises ApiRefusal."""
        found = {
            entity.store: entity
            for entity in self._covered(model)
            if entity.id == entity_id and store in (None, entity.store)
        }
        home = self.invocation.store
        if home in found:
            return found[home]
        if len(found) > 1:
            raise ApiRefusal("ambiguous_id", f"{len(found)} stores have {entity_id!r:.80}: say which with store")
        return next(iter(found.values()), None)

    def _store_for(self, asked: str | None) -> str:
        """Where a new entity belongs. Raises ApiRefusal."""
        own = self.plugin.store
        if own is not None and asked not in (None, own):
            raise ApiRefusal("permission_denied", f"the plugin is installed in store {own!r:.80} only")
        store = own or (self.invocation.store if asked is None else asked)
        if store is None or (asked is None and store == EVERY_STORE):
            raise ApiRefusal("invalid_value", "say in which store it is created: this call is of none")
        if not _is_name(store):
            raise ApiRefusal("invalid_value", f"store: {_NAME_RULE}")
        return store

    def _check_people(self, model: ModelName, before: Document, after: Document) -> None:
        """Raise ApiRefusal when a change writes or removes what the installation may not see."""
        hidden = hidden_from(tuple(self.plugin.grants))
        known, wanted = (personal_members(model, document, hidden) for document in (before, after))
        if known == wanted:
            return
        path = next(path for path in {**wanted, **known} if known.get(path) != wanted.get(path))
        needed = " or ".join(GRANTS[kind] for kind in sorted(hidden))
        raise ApiRefusal(
            "permission_denied", f"{'.'.join(map(str, path))} is personal data: {needed} is needed to change it"
        )


class Places(Group):
    """The installation's organization and its stores."""

    @method("places.store", AskStore)
    async def store(self, call: AskStore) -> Document | None:
        store, own = call.store or self.invocation.store, self.plugin
        if store is None or store == EVERY_STORE:
            return None
        if own.store not in (None, store):
            raise ApiRefusal("wrong_store", f"the plugin is installed in store {own.store!r} only")
        known = copy.deepcopy(self.reads().get(entities(own.organization, "store"), (store, store)) or {})
        redact("store", known, hidden_from(tuple(own.grants)))
        return {**known, "id": store}

    @method("places.organization", AskOrganization)
    async def organization(self, _: AskOrganization) -> Document:
        own = self.plugin
        found = {store for (store, _), _ in self.reads().scan(entities(own.organization, "store"))}
        return {"id": own.organization, "stores": sorted(store for store in found if own.store in (None, store))}


def _scalar(value: Any) -> Any:
    return None if text_of(value) is None or value is ABSENT else value


def _ordered(value: Any) -> tuple[int, Any]:
    """jsonb's own order of scalars; what is absent comes last."""
    if value is None:
        return 3, 0
    if isinstance(value, bool):
        return 2, value
    return (0, value) if isinstance(value, str) else (1, value)


def _aggregated(function: str, values: list[Any]) -> Any:
    if function == "sum":
        return _numbers.total(values)
    if function == "avg":
        return _numbers.mean(values)
    if not values:
        return None
    return min(values) if function == "min" else max(values)


def _size(entity: Entity) -> int:
    return len(json.dumps(entity.document, default=str))


def _is_name(text: str) -> bool:
    return 0 < len(text) <= MAX_NAME_LENGTH and text.isprintable()
