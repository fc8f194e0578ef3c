"""One transaction for many invocations of an installation: their effects are committed together, or none of them.

It saves each of them its round trips to begin, claim and commit, and lets like statements go together. When one of them
fails after it has written, all are undone, and the others run again, each in a transaction of its own (see
:mod:`services.runtime.delivery.shared_work`): so nobody keeps what rests on something that never was.
"""

import asyncio
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import asyncpg
import structlog

from services.common.database import DATABASE_ERRORS
from services.common.tracing import apart
from services.runtime.delivery import combined
from services.runtime.delivery.combined import Statement
from services.runtime.delivery.unit_of_work import ACQUIRE_SECONDS, InboxKey, NotShared, UndoneTogether
from services.runtime.isolation import ENTER, ENTERED, Scope

log = structlog.get_logger(__name__)

MOST_MEMBERS = 64
OPEN_SECONDS = 0.01
"""How long others may join once it has begun. What comes later shares the one that begins when this one has ended."""
SLOW_SECONDS = 2.0
"""A member that takes longer is not waited for: the others would be late on its account."""
LOCK_TIMEOUT = "200ms"
"""It holds the rows of many, so it does not wait long for those of others: two such would wait for each other."""

_IMPATIENT = f"set_config('lock_timeout', '{LOCK_TIMEOUT}', true)"
_ENTER = f"{ENTER}, {_IMPATIENT}"
_CLAIM = f"""
WITH {ENTERED}, impatient AS MATERIALIZED (SELECT {_IMPATIENT})
INSERT INTO inbox (installation_id, target, source, id)
SELECT asked.* FROM entered, impatient, unnest($4::text[], $5::text[], $6::text[], $7::text[]) AS asked
ON CONFLICT DO NOTHING RETURNING installation_id, target, source, id
"""  # noqa: S608  constants


class SharedTransaction:
    """``after``: it begins when that one has ended, so that two of one installation never wait for each other's rows.

    ``ended`` is told whether it was committed; not when nothing was to be.
    """

    def __init__(
        self,
        pool: "asyncpg.Pool[asyncpg.Record]",
        scope: Scope,
        after: "SharedTransaction | None",
        ended: Callable[[bool], None],
    ) -> None:
        self._pool = pool
        self._scope = scope
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._closes_at = math.inf
        self._joined = 0
        self._active = 0
        self._wrote = False
        self._failure: BaseException | None = None
        self._claims: list[tuple[InboxKey, asyncio.Future[bool]]] = []
        self._statements: list[Statement] = []
        self._asked: list[asyncio.Future[Any]] = []
        self._moved = asyncio.Event()
        self._result: asyncio.Future[None] = self._loop.create_future()
        before = None if after is None else after._result
        self._task = self._loop.create_task(self._run(before), context=apart())

    @property
    def open(self) -> bool:
        """Whether others may join."""
        return (
            self._failure is None
            and not self._result.done()
            and (self._active > 0 or self._joined == 0)
            and self._joined < MOST_MEMBERS
            and self._loop.time() < self._closes_at
        )

    def join(self) -> None:
        """One more takes part, until it leaves, commits or fails."""
        self._joined += 1
        self._active += 1

    def leave(self) -> None:
        """A member has no part in what is committed: it wrote nothing."""
        self._active -= 1
        self._moved.set()

    async def commit(self) -> None:
        """A member has done its part; returns when all of it is committed. Raises UndoneTogether."""
        self.leave()
        await asyncio.shield(self._result)

    def fail(self, error: BaseException) -> None:
        """A member failed after it had written, so nothing can be kept."""
        self._active -= 1
        self._failure = self._failure or error
        self._moved.set()

    async def claim(self, key: InboxKey) -> bool:
        """Take an invocation's inbox row; False when it is taken already."""
        self._check()
        answer: asyncio.Future[bool] = self._loop.create_future()
        self._claims.append((key, answer))
        self._moved.set()
        return await answer

    async def fetch(self, sql: str, *arguments: Any) -> list[Any]:
        rows: list[Any] = await self._ask(Statement(sql, arguments, status=False))
        return rows

    async def fetchrow(self, sql: str, *arguments: Any) -> Any:
        rows = await self.fetch(sql, *arguments)
        return rows[0] if rows else None

    async def fetchval(self, sql: str, *arguments: Any) -> Any:
        row = await self.fetchrow(sql, *arguments)
        return None if row is None else row[0]

    async def execute(self, sql: str, *arguments: Any) -> str:
        status: str = await self._ask(Statement(sql, arguments, status=True))
        return status

    async def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        await asyncio.gather(*(self.execute(sql, *row) for row in rows))

    def cursor(self, *_: Any, **__: Any) -> Any:
        raise NotShared("a cursor wants the connection for itself")

    def _ask(self, statement: Statement) -> "asyncio.Future[Any]":
        self._check()
        self._statements.append(statement)
        self._moved.set()
        return statement.outcome

    def _check(self) -> None:
        if self._failure is not None:
            raise UndoneTogether from self._failure

    async def _run(self, before: "asyncio.Future[None] | None") -> None:
        try:
            if before is not None:
                await asyncio.wait([before])
            self._closes_at = self._loop.time() + OPEN_SECONDS
            async with self._pool.acquire(timeout=ACQUIRE_SECONDS) as connection, connection.transaction():
                await self._work(connection)
        except (UndoneTogether, TimeoutError, *DATABASE_ERRORS) as error:
            self._undo(error)
            log.info("shared transaction undone", hooks=self._joined, reason=repr(self._failure))
            self._ended(False)
        except BaseException as error:
            self._undo(error)
            raise
        else:
            self._result.set_result(None)
            if self._wrote:
                self._ended(True)

    async def _work(self, connection: asyncpg.Connection) -> None:
        entered = False
        while await self._something():
            claims, self._claims = self._claims, []
            statements, self._statements = self._statements, []
            self._asked = [*(answer for _, answer in claims), *(each.outcome for each in statements)]
            if claims:
                entered = self._wrote = True
                await self._take(connection, claims)
            if statements:
                if not entered:
                    await connection.execute(_ENTER, *self._scope.row())
                    entered = True
                await combined.run(connection, statements)

    async def _something(self) -> bool:
        """Wait for something to do; False when there will be nothing more. Raises what it has failed with."""
        async with asyncio.timeout_at(self._closes_at + SLOW_SECONDS):
            while not (self._claims or self._statements or self._failure) and self._active:
                self._moved.clear()
                await self._moved.wait()
        self._check()
        return bool(self._claims or self._statements)

    async def _take(
        self, connection: asyncpg.Connection, claims: "list[tuple[InboxKey, asyncio.Future[bool]]]"
    ) -> None:
        keys = sorted({key.row() for key, _ in claims})  # in one order, so that two workers do not wait for each other
        rows = await connection.fetch(_CLAIM, *self._scope.row(), *zip(*keys, strict=True))
        taken = {InboxKey(*row) for row in rows}
        for key, answer in claims:
            if not answer.done():
                answer.set_result(key in taken)
            taken.discard(key)  # of two that are the same, one has it

    def _undo(self, error: BaseException) -> None:
        self._failure = self._failure or error
        waiting = [*self._asked, *(answer for _, answer in self._claims), *(each.outcome for each in self._statements)]
        for future in [*waiting, self._result]:
            if not future.done():
                undone = UndoneTogether()
                undone.__cause__ = self._failure
                future.set_exception(undone)
                future.exception()  # whoever waited may have gone
