"""The host's side of the Plugin API for one invocation.

Every decision is made from the invocation that the host itself started; what a guest sends is only ever an argument.
"""

import json
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog

from services.common.events import DomainEvent
from services.common.outbox import INSERT as INSERT_OUTBOX
from services.common.topics import PLUGIN_EVENTS
from services.runtime.delivery.unit_of_work import UnitOfWork
from services.runtime.invocation import Invocation
from services.runtime.plugin_api.definition import TableDefinition, check_table_name, read_definition
from services.runtime.plugin_api.errors import ApiRefusal
from services.runtime.plugin_api.tables import CustomTable, TableCatalog

log = structlog.get_logger("plugin")

EMITTED = uuid.UUID("6f1c0e0a-5f0c-5a3e-9a0b-0d9b6c1f7a11")  # namespace of the ids of emitted events
ORGANIZATION_WIDE = "*"
MAX_EVENT_BYTES = 64 * 1024
LEVELS = ("debug", "info", "warning", "error")


class _Arguments(msgspec.Struct, forbid_unknown_fields=True):
    pass


class _Log(_Arguments):
    level: str
    message: str
    meta: dict[str, Any] = {}


class _SetConfig(_Arguments):
    key: str
    value: Any


class _Emit(_Arguments):
    event: str
    data: dict[str, Any]


class _CreateTable(_Arguments):
    name: str
    definition: Any


class _Find(_Arguments):
    table: str
    where: dict[str, Any] | None = None
    sort: list[str] = []
    limit: int = 100


class _Create(_Arguments):
    table: str
    values: dict[str, Any]


class _Update(_Arguments):
    table: str
    where: dict[str, Any]
    values: dict[str, Any] = {}
    increment: dict[str, Any] = {}


class _Upsert(_Arguments):
    table: str
    key: dict[str, Any]
    values: dict[str, Any] = {}
    increment: dict[str, Any] = {}


class _Delete(_Arguments):
    table: str
    where: dict[str, Any]


class _Aggregate(_Arguments):
    table: str
    where: dict[str, Any] | None = None
    group_by: list[str] = []
    functions: dict[str, list[str]] = {}


class PluginApiSession:
    """Answers the API calls of one attempt of one invocation."""

    def __init__(self, invocation: Invocation, work: UnitOfWork, catalog: TableCatalog) -> None:
        self._invocation = invocation
        self._installation = invocation.installation
        self._work = work
        self._catalog = catalog
        self._created: dict[str, TableDefinition] = {}
        self._emitted = 0
        self._config: dict[str, Any] | None = None
        self._methods: dict[str, tuple[type[_Arguments], Callable[[Any], Awaitable[Any]]]] = {
            "log": (_Log, self._log),
            "config.set": (_SetConfig, self._set_config),
            "events.emit": (_Emit, self._emit),
            "tables.define": (_CreateTable, self._define),
            "tables.find": (_Find, self._find),
            "tables.create": (_Create, self._create),
            "tables.update": (_Update, self._update),
            "tables.upsert": (_Upsert, self._upsert),
            "tables.delete": (_Delete, self._delete),
            "tables.aggregate": (_Aggregate, self._aggregate),
        }

    @property
    def changed_config(self) -> bytes | None:
        """The whole configuration as JSON when the invocation changed it."""
        return None if self._config is None else msgspec.json.encode(self._config)

    def remember(self) -> None:
        """The invocation was committed: the tables it made exist."""
        for name, definition in self._created.items():
            self._catalog.remember(self._installation.digest, name, definition)

    async def __call__(self, method: str, arguments: dict[str, Any]) -> Any:
        """Answer one API call. Raises ApiRefusal, or what the database failed with."""
        known = self._methods.get(method)
        if known is None:
            raise ApiRefusal("unknown_method", f"the Plugin API has no {method!r}")
        shape, answer = known
        try:
            converted = msgspec.convert(arguments, shape)
        except msgspec.ValidationError as error:
            raise ApiRefusal("invalid_arguments", f"{method}: {error}") from error
        return await answer(converted)

    async def _log(self, call: _Log) -> None:
        level = call.level if call.level in LEVELS else "info"
        getattr(log, level)(
            call.message,
            installation=self._installation.id,
            plugin=self._installation.plugin_id,
            during=self._invocation.target,
            meta=call.meta,
        )

    async def _set_config(self, call: _SetConfig) -> None:
        if self._invocation.kind != "lifecycle":
            raise ApiRefusal("not_allowed_here", "the configuration can be set in lifecycle hooks only")
        self._config = {**(self._config or self._installation.config), call.key: call.value}

    async def _emit(self, call: _Emit) -> None:
        event_type = f"{self._installation.plugin_id}/{call.event}"
        data = json.dumps(call.data, default=str, allow_nan=False).encode()
        if len(data) > MAX_EVENT_BYTES:
            raise ApiRefusal("event_too_large", f"an event's data is at most {MAX_EVENT_BYTES} bytes")
        # The same attempt of the same cause emits the same ids, so a consumer recognises a repetition.
        name = "/".join([*self._invocation.key.row(), str(self._emitted)])
        self._emitted += 1
        event = DomainEvent(
            id=str(uuid.uuid5(EMITTED, name)),
            type=event_type,
            source=f"urn:outlet:installation:{self._installation.id}",
            time=datetime.now(UTC).isoformat(),
            organization=self._installation.organization_id,
            store=self._invocation.store or ORGANIZATION_WIDE,
            data=data,
        )
        headers = {name: value.decode() for name, value in event.headers()}
        async with self._work.use(writes=True) as connection:
            await connection.execute(
                INSERT_OUTBOX,
                PLUGIN_EVENTS.name,
                event.record_key(self._installation.id),
                event.data,
                json.dumps(headers),
            )

    async def _define(self, call: _CreateTable) -> None:
        if self._invocation.kind != "lifecycle":
            raise ApiRefusal("not_allowed_here", "tables are made in lifecycle hooks only, best in on_install")
        check_table_name(call.name)
        definition = read_definition(call.definition)
        async with self._work.use(writes=True) as connection:
            await self._catalog.define(connection, self._installation.plugin_id, call.name, definition)
        self._created[call.name] = definition

    async def _find(self, call: _Find) -> list[dict[str, Any]]:
        table = await self._table(call.table)
        async with self._work.use(writes=False) as connection:
            return await table.find(connection, call.where, call.sort, call.limit)

    async def _create(self, call: _Create) -> dict[str, Any]:
        table = await self._table(call.table)
        async with self._work.use(writes=True) as connection:
            return await table.create(connection, call.values)

    async def _update(self, call: _Update) -> list[dict[str, Any]]:
        table = await self._table(call.table)
        async with self._work.use(writes=True) as connection:
            return await table.update(connection, call.where, call.values, call.increment)

    async def _upsert(self, call: _Upsert) -> dict[str, Any]:
        table = await self._table(call.table)
        async with self._work.use(writes=True) as connection:
            return await table.upsert(connection, call.key, call.values, call.increment)

    async def _delete(self, call: _Delete) -> int:
        table = await self._table(call.table)
        async with self._work.use(writes=True) as connection:
            return await table.delete(connection, call.where)

    async def _aggregate(self, call: _Aggregate) -> list[dict[str, Any]]:
        table = await self._table(call.table)
        async with self._work.use(writes=False) as connection:
            return await table.aggregate(connection, call.where, call.group_by, call.functions)

    async def _table(self, name: str) -> CustomTable:
        plugin_id, digest = self._installation.plugin_id, self._installation.digest
        definition = self._created.get(name) or self._catalog.known(digest, name)
        if definition is None:
            async with self._work.use(writes=False) as connection:
                definition = await self._catalog.load(connection, plugin_id, name)
            if definition is None:
                raise ApiRefusal("unknown_table", f"there is no table {name!r}; make it in on_install")
            self._catalog.remember(digest, name, definition)
        return CustomTable(plugin_id, name, definition, self._installation.id)
