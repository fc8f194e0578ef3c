"""One invocation, one transaction: opened by its first use of the database, committed with its inbox row.

The inbox row is claimed before the first write. A repetition of the same invocation (a redelivered event, a retried
request, a worker that came back from the dead) then waits for the first one and finds its row: effects happen once.

Within it, savepoints: a statement that PostgreSQL refuses inside one undoes no more than that savepoint.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import asyncpg

from services.common.database import DATABASE_ERRORS
from services.runtime.isolation import ENTER, ENTERED, Scope
from services.runtime.plugin_api.errors import ApiRefusal

ACQUIRE_SECONDS = 5.0
MAX_SAVEPOINTS = 8
"""Savepoints open at once, one within the other."""

_savepoint: ContextVar[int] = ContextVar("savepoint", default=0)

_CLAIM = "INSERT INTO inbox (installation_id, target, source, id) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING"
_ENTER_AND_CLAIM = f"""
WITH {ENTERED}
INSERT INTO inbox (installation_id, target, source, id) SELECT $4, $5, $6, $7 FROM entered ON CONFLICT DO NOTHING
"""  # noqa: S608  constants
_RESULT = "SELECT result FROM inbox WHERE installation_id = $1 AND target = $2 AND source = $3 AND id = $4"
_STORE = "UPDATE inbox SET result = $5 WHERE installation_id = $1 AND target = $2 AND source = $3 AND id = $4"
_KNOWN = """
SELECT installation_id, target, source, id FROM inbox
JOIN unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS asked (installation_id, target, source, id)
USING (installation_id, target, source, id)
"""


class UndoneTogether(Exception):
    """A shared transaction was undone, on whoever's account: the invocation is to run again, in one of its own."""


class NotShared(UndoneTogether):
    """What an invocation asks for needs a transaction of its own."""


TRANSIENT = (
    UndoneTogether,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.TooManyConnectionsError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.QueryCanceledError,
)


def is_transient(error: BaseException | None) -> bool:
    """Whether a failure says nothing of the plugin: the same invocation may succeed when it is tried again."""
    # asyncpg refuses a parameter that it cannot encode with an InterfaceError that is a ValueError: that one stays.
    return isinstance(error, TRANSIENT) and not isinstance(error, ValueError)


@dataclass(frozen=True, slots=True)
class InboxKey:
    """What identifies an invocation for ever: which installation and target, and what caused it."""

    installation_id: str
    target: str
    source: str
    id: str

    def row(self) -> tuple[str, str, str, str]:
        return self.installation_id, self.target, self.source, self.id


class AlreadyDone(Exception):
    """The invocation was committed before; ``result`` is what it answered then."""

    def __init__(self, result: bytes | None) -> None:
        super().__init__("this invocation was already done")
        self.result = result


class TransactionDoomed(Exception):
    """An earlier statement of the invocation failed, so nothing of it can be committed."""


@contextmanager
def inside(savepoint: int) -> Iterator[None]:
    """Whoever uses a unit of work here does so within the savepoint with this number; 0 is none."""
    token = _savepoint.set(savepoint)
    try:
        yield
    finally:
        _savepoint.reset(token)


@dataclass(slots=True)
class _Savepoint:
    number: int
    transaction: asyncpg.transaction.Transaction
    failure: BaseException | None = None
    """What dooms this savepoint and nothing outside of it."""


class UnitOfWork:
    """The transaction of one attempt of one invocation. Ended by exactly one of commit and rollback.

    It touches only rows of ``scope``; without one, only what belongs to the installation of ``key``.
    """

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", key: InboxKey, scope: Scope | None = None) -> None:
        self._pool = pool
        self._key = key
        self._scope = scope or Scope(installation=key.installation_id)
        self._entered = False
        self._connection: asyncpg.Connection | None = None
        self._transaction: asyncpg.transaction.Transaction | None = None
        self._claimed = False
        self._one_at_a_time = asyncio.Lock()
        self._savepoints: list[_Savepoint] = []
        self._begun = 0
        self._known_new = False
        self._has_effect_outside = False
        self.failure: BaseException | None = None
        """What dooms this attempt: a database error, AlreadyDone, or the cancellation of a statement."""

    @property
    def opened(self) -> bool:
        """Whether this unit of work holds a connection."""
        return self._connection is not None

    @asynccontextmanager
    async def use(self, *, writes: bool) -> AsyncIterator[asyncpg.Connection]:
        """The connection within the transaction, for one statement at a time.

        Raises AlreadyDone before the first write of a repetition, TransactionDoomed after any failure, and ApiRefusal
        outside of a savepoint that is open.
        """
        async with self._one_at_a_time:
            self._check_usable()
            try:
                connection = self._connection or await self._open()
                if writes and not self._claimed:
                    await self._claim(connection)
                if not self._entered:
                    await connection.execute(ENTER, *self._scope.row())
                    self._entered = True
                yield connection
            except ApiRefusal as error:
                if isinstance(error.__cause__, asyncpg.PostgresError):
                    self._doom(error)
                raise
            except BaseException as error:
                # A cancelled statement counts too: PostgreSQL answers COMMIT after it with a silent rollback.
                self._doom(error)
                raise

    async def before_effect_outside(self) -> None:
        """Something is about to happen that no rollback undoes: not for an invocation that was committed before.

        Raises AlreadyDone then. The commit leaves an inbox row, also when nothing else is written.
        """
        self._has_effect_outside = True
        if self._claimed or self._known_new:
            return
        found = await self._pool.fetch(_RESULT, *self._key.row())
        if found:
            self.failure = AlreadyDone(found[0]["result"])
            raise self.failure
        self._known_new = True

    @property
    def nested(self) -> bool:
        """Whether a savepoint is open: what is done now may be undone while the rest is kept."""
        return bool(self._savepoints)

    async def begin(self) -> int:
        """Open a savepoint and return its number, which :func:`inside` takes. Raises as :meth:`use` does."""
        # Claimed before: a savepoint that is undone must not take the inbox row with it.
        async with self.use(writes=True) as connection:
            if len(self._savepoints) == MAX_SAVEPOINTS:
                raise ApiRefusal("transaction_open", f"transactions are nested at most {MAX_SAVEPOINTS} deep")
            transaction = connection.transaction()
            await transaction.start()
            self._begun += 1
            self._savepoints.append(_Savepoint(self._begun, transaction))
            return self._begun

    async def end(self, *, keep: bool) -> None:
        """Keep or undo what was done since the innermost savepoint, from inside of it.

        Raises ApiRefusal (``transaction_failed``) when it was to be kept and cannot be; it is then undone.
        """
        async with self._one_at_a_time:
            self._check_usable(doomed=True)
            if not self._savepoints:
                raise ApiRefusal("transaction_ended", "no transaction is open")
            savepoint = self._savepoints.pop()
            try:
                if keep and savepoint.failure is None:
                    await savepoint.transaction.commit()
                else:
                    await savepoint.transaction.rollback()
            except BaseException as error:
                self.failure = error
                raise
        if keep and savepoint.failure is not None:
            detail = "a database operation of this transaction failed, so all of it is undone"
            raise ApiRefusal("transaction_failed", detail) from savepoint.failure

    def settle(self) -> None:
        """Nothing more comes from the plugin. Raises TransactionDoomed when it left a savepoint open."""
        if self._savepoints and self.failure is None:
            self.failure = ApiRefusal("transaction_open", "a transaction that it had opened was still open")
        self._check_sound()

    async def commit(self, result: bytes | None = None) -> None:
        """Make the effects, the inbox row and ``result`` durable together. Raises what doomed the attempt."""
        if self._has_effect_outside and not self._claimed:
            async with self.use(writes=True):
                pass
        async with self._one_at_a_time:
            self.settle()
            if self._connection is None or self._transaction is None:
                return
            if self._claimed and result is not None:
                await self._connection.execute(_STORE, *self._key.row(), result)
            await self._transaction.commit()
            self._transaction = None
            await self._release()

    async def rollback(self) -> None:
        """Undo everything; safe to call at any time, also after a commit."""
        async with self._one_at_a_time:
            try:
                if self._transaction is not None:
                    await self._transaction.rollback()
            except DATABASE_ERRORS as error:
                # The connection is gone: the server has rolled back, or does when it notices. The pool discards it.
                self.failure = self.failure or error
            finally:
                self._transaction = None
                await self._release()

    def _check_usable(self, *, doomed: bool = False) -> None:
        """Refuse what comes from outside of the innermost savepoint, and what comes after a failure.

        ``doomed``: a failure of that savepoint alone is no obstacle.
        """
        self._check_sound()
        innermost = self._savepoints[-1] if self._savepoints else None
        asked = _savepoint.get()
        if innermost is None and asked:
            raise ApiRefusal("transaction_ended", "this transaction has ended")
        if innermost is not None and asked != innermost.number:
            raise ApiRefusal(
                "transaction_open",
                "another part of this call has a transaction open: do this inside of it, or when it has ended",
            )
        if innermost is not None and innermost.failure is not None and not doomed:
            raise TransactionDoomed("an earlier database operation of this transaction failed") from innermost.failure

    def _check_sound(self) -> None:
        if self.failure is not None:
            raise TransactionDoomed("an earlier database operation of this call failed") from self.failure

    def _doom(self, error: BaseException) -> None:
        """A statement that the server refused leaves what was before the savepoint; anything else leaves nothing."""
        cause = error.__cause__ if isinstance(error, ApiRefusal) else error
        if self._savepoints and isinstance(cause, asyncpg.PostgresError) and not is_transient(cause):
            self._savepoints[-1].failure = error
        else:
            self.failure = error

    async def _open(self) -> asyncpg.Connection:
        self._connection = await self._pool.acquire(timeout=ACQUIRE_SECONDS)
        transaction = self._connection.transaction()
        try:
            await transaction.start()
        except BaseException:
            self._connection.terminate()  # whether it has begun, only the server knows
            raise
        self._transaction = transaction
        return self._connection

    async def _claim(self, connection: asyncpg.Connection) -> None:
        if self._entered:
            claimed = await connection.execute(_CLAIM, *self._key.row())
        else:  # one round trip for both
            claimed = await connection.execute(_ENTER_AND_CLAIM, *self._scope.row(), *self._key.row())
            self._entered = True
        if claimed == "INSERT 0 0":
            raise AlreadyDone(await connection.fetchval(_RESULT, *self._key.row()))
        self._claimed = True

    async def _release(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await self._pool.release(connection)


async def already_done(pool: "asyncpg.Pool[asyncpg.Record]", keys: list[InboxKey]) -> set[InboxKey]:
    """Which of ``keys`` were committed before, asked in one round trip."""
    if not keys:
        return set()
    rows = await pool.fetch(_KNOWN, *zip(*(key.row() for key in keys), strict=True))
    return {InboxKey(*row) for row in rows}
