"""Transactions within the invocation's own: ``transactions.begin``, ``.commit`` and ``.rollback``."""

from services.runtime.plugin_api.groups import Arguments, Group, method


class Nothing(Arguments):
    """No arguments."""


class Savepoints(Group):
    """Each is a savepoint; the number that begin answers marks the calls that are made inside of it."""

    @method("transactions.begin", Nothing)
    async def begin(self, _: Nothing) -> int:
        return await self.work.begin()

    @method("transactions.commit", Nothing)
    async def commit(self, _: Nothing) -> None:
        await self.work.end(keep=True)

    @method("transactions.rollback", Nothing)
    async def rollback(self, _: Nothing) -> None:
        await self.work.end(keep=False)
