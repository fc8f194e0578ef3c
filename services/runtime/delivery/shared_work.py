"""Invocations that share a transaction while all goes well, and have one each when something does not."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import asyncpg

from services.runtime.delivery.shared_transaction import SharedTransaction
from services.runtime.delivery.unit_of_work import (
    AlreadyDone,
    InboxKey,
    NotShared,
    TransactionDoomed,
    UndoneTogether,
    UnitOfWork,
)
from services.runtime.isolation import Scope
from services.runtime.plugin_api.errors import ApiRefusal

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0


class Sharing:
    """Of one installation: the transaction that its invocations join now, and when it is better that they do not.

    After one that was undone they go alone for a second, and for twice as long each further time in a row.
    """

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", scope: Scope) -> None:
        self._pool = pool
        self._scope = scope
        self._loop = asyncio.get_running_loop()
        self._present: SharedTransaction | None = None
        self._alone: set[str] = set()
        self._pause = 0.0
        self._resumes_at = 0.0

    @property
    def untroubled(self) -> bool:
        """Whether there is nothing to remember."""
        return not self._alone and self._pause == 0.0

    def invites(self, target: str) -> bool:
        """Whether an invocation of this target is to share a transaction with others."""
        return target not in self._alone and self._loop.time() >= self._resumes_at

    def join(self) -> SharedTransaction:
        """The transaction to take part in."""
        if self._present is None or not self._present.open:
            self._present = SharedTransaction(self._pool, self._scope, self._present, self._ended)
        self._present.join()
        return self._present

    def refuse(self, target: str) -> None:
        """Invocations of this target do what cannot be shared."""
        self._alone.add(target)

    def _ended(self, committed: bool) -> None:
        if committed:
            self._pause = 0.0
        elif self._loop.time() >= self._resumes_at:  # what was under way beside it is no further sign
            self._pause = min(max(self._pause * 2, FIRST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)
            self._resumes_at = self._loop.time() + self._pause


class SharedWork(UnitOfWork):
    """A unit of work within a shared transaction, from its first use of the database on.

    What cannot be shared (an effect outside, a savepoint) makes it one of its own, or dooms it (NotShared) when it
    has begun to share already.
    """

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", key: InboxKey, scope: Scope, sharing: Sharing) -> None:
        super().__init__(pool, key, scope)
        self._sharing = sharing
        self._own = False
        self._shared: SharedTransaction | None = None
        self._through = False

    @property
    def opened(self) -> bool:
        return self._shared is not None or super().opened

    @asynccontextmanager
    async def use(self, *, writes: bool) -> AsyncIterator[asyncpg.Connection]:
        if self._own:
            async with super().use(writes=writes) as connection:
                yield connection
            return
        async with self._one_at_a_time:
            self._check_usable()
            if self._shared is None:
                self._shared = self._sharing.join()
            try:
                if writes and not self._claimed:
                    await self._claim_of(self._shared)
                yield cast(asyncpg.Connection, self._shared)  # it has what the Plugin API asks of a connection
            except ApiRefusal as error:
                if isinstance(error.__cause__, asyncpg.PostgresError | UndoneTogether):
                    self.failure = error
                raise
            except BaseException as error:
                self.failure = error
                raise

    async def before_effect_outside(self) -> None:
        self._part()
        await super().before_effect_outside()

    async def begin(self) -> int:
        self._part()
        return await super().begin()

    async def commit(self, result: bytes | None = None) -> None:
        if self._own or self._shared is None:
            await super().commit(result)
            return
        async with self._one_at_a_time:
            self.settle()
            self._through = True
            if self._claimed:
                await self._shared.commit()
            else:
                self._shared.leave()

    async def rollback(self) -> None:
        if self._shared is None:
            await super().rollback()
        elif not self._through:
            self._through = True
            if self._claimed or isinstance(self.failure, NotShared):
                self._shared.fail(self.failure or TransactionDoomed("an invocation failed"))
            else:
                self._shared.leave()

    async def _claim_of(self, shared: SharedTransaction) -> None:
        self._claimed = True  # from now on: who ends before the answer may have taken the row
        if not await shared.claim(self._key):
            self._claimed = False
            raise AlreadyDone(None)

    def _part(self) -> None:
        if self._own:
            return
        self._sharing.refuse(self._key.target)
        if self._shared is not None:
            self.failure = NotShared("this cannot be done in a shared transaction")
            raise self.failure
        self._own = True
