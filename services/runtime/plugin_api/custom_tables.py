"""The methods of custom tables: ``tables.define``, ``tables.find``, ..."""

from typing import Any

from outlet._rules.arguments.tables import Aggregate, Create, Define, Delete, Find, Update, Upsert
from services.runtime.plugin_api.definition import TABLE_NAME, TableDefinition, check_table_name, read_definition
from services.runtime.plugin_api.errors import ApiRefusal
from services.runtime.plugin_api.groups import Context, Group, method
from services.runtime.plugin_api.tables import CustomTable


class CustomTables(Group):
    """The plugin's own tables, as this installation sees them."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._catalog = context.resources.tables
        self._defined: dict[str, TableDefinition] = {}

    @method("tables.define", Define)
    async def define(self, call: Define) -> None:
        if self.invocation.kind != "lifecycle":
            raise ApiRefusal("not_allowed_here", "tables are made in lifecycle hooks only, best in on_install")
        if self.work.nested:
            raise ApiRefusal("not_allowed_here", "tables are made outside of api.transaction()")
        check_table_name(call.name, self.installation.manifest)
        definition = read_definition(call.definition)
        async with self.work.use(writes=True) as connection:
            own = self.installation
            await self._catalog.define(connection, own.plugin_id, call.name, own.digest, definition)
        self._defined[call.name] = definition
        # Others may rely on it once it is committed, and not before.
        self.context.committed.append(lambda: self._catalog.remember(self.installation.digest, call.name, definition))

    @method("tables.find", Find)
    async def find(self, call: Find) -> list[dict[str, Any]]:
        table = await self._table(call.table)
        async with self.work.use(writes=False) as connection:
            return await table.find(connection, call.where, call.sort, call.limit)

    @method("tables.create", Create)
    async def create(self, call: Create) -> dict[str, Any]:
        table = await self._table(call.table)
        async with self.work.use(writes=True) as connection:
            return await table.create(connection, call.values)

    @method("tables.update", Update)
    async def update(self, call: Update) -> list[dict[str, Any]]:
        table = await self._table(call.table)
        async with self.work.use(writes=True) as connection:
            return await table.update(connection, call.where, call.values, call.increment)

    @method("tables.upsert", Upsert)
    async def upsert(self, call: Upsert) -> dict[str, Any]:
        table = await self._table(call.table)
        async with self.work.use(writes=True) as connection:
            return await table.upsert(connection, call.key, call.values, call.increment)

    @method("tables.delete", Delete)
    async def delete(self, call: Delete) -> int:
        table = await self._table(call.table)
        async with self.work.use(writes=True) as connection:
            return await table.delete(connection, call.where)

    @method("tables.aggregate", Aggregate)
    async def aggregate(self, call: Aggregate) -> list[dict[str, Any]]:
        table = await self._table(call.table)
        async with self.work.use(writes=False) as connection:
            return await table.aggregate(connection, call.where, call.group_by, call.functions)

    async def _table(self, name: str) -> CustomTable:
        plugin_id, digest = self.installation.plugin_id, self.installation.digest
        definition = self._defined.get(name) or self._catalog.known(digest, name)
        if definition is None:
            if TABLE_NAME.fullmatch(name):
                async with self.work.use(writes=False) as connection:
                    definition = await self._catalog.load(connection, plugin_id, name, digest)
            if definition is None:
                raise ApiRefusal("unknown_table", f"there is no table {name!r}; make it in on_install")
            if self.invocation.kind != "lifecycle":  # which may go on to declare it otherwise
                self._catalog.remember(digest, name, definition)
        return CustomTable(plugin_id, name, definition, self.installation.id)
