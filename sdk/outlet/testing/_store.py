"""What the platform in memory keeps, and its transactions: each sees what is committed, and its own changes."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from outlet._rules.refusal import ApiRefusal

MAX_SAVEPOINTS = 8

Collection: TypeAlias = tuple[str, ...]
Key: TypeAlias = Any
Changes: TypeAlias = dict[Collection, dict[Key, Any]]
InboxKey: TypeAlias = tuple[str, str, str, str]
"""Installation, target, source and id: what identifies an invocation for ever."""

INBOX: Collection = ("inbox",)
_GONE: Any = object()


class DataRefused(ApiRefusal):
    """What PostgreSQL refuses: nothing of the transaction, or of its innermost savepoint, can be kept after it."""


class AlreadyDone(ApiRefusal):
    """The invocation was committed before; ``result`` is what it answered then."""

    def __init__(self, result: bytes) -> None:
        super().__init__("transaction_failed", "this invocation was already done")
        self.result = result


@dataclass
class Store:
    """Everything that is committed. Values are never changed in place."""

    collections: Changes = field(default_factory=dict)

    def all(self, collection: Collection) -> dict[Key, Any]:
        """The members of a collection."""
        return self.collections.get(collection, {})


@dataclass
class _Savepoint:
    number: int
    before: Changes
    failure: ApiRefusal | None = None


class Transaction:
    """One attempt of one invocation. Nothing reaches the store before :meth:`commit`."""

    def __init__(self, store: Store, key: InboxKey) -> None:
        self._store = store
        self._key = key
        self._changes: Changes = {}
        self._savepoints: list[_Savepoint] = []
        self._begun = 0
        self._claimed = False
        self.failure: ApiRefusal | None = None
        """What dooms this attempt."""

    @property
    def nested(self) -> bool:
        """Whether a savepoint is open."""
        return bool(self._savepoints)

    def use(self, savepoint: int, *, writes: bool) -> None:
        """Say that a call made inside of ``savepoint`` (0: of none) goes to the data. Raises ApiRefusal."""
        self._check_usable(savepoint)
        if writes:
            self.claim()

    def claim(self) -> None:
        """The first thing that would be kept is about to happen. Raises AlreadyDone when all of it was kept before."""
        if self._claimed:
            return
        if self._key in self._store.all(INBOX):
            self.failure = AlreadyDone(self._store.all(INBOX)[self._key])
            raise self.failure
        self._claimed = True

    def get(self, collection: Collection, key: Key) -> Any:
        """One member; None when there is none."""
        found = self._changes.get(collection, {}).get(key)
        if found is None:
            found = self._store.all(collection).get(key)
        return None if found is _GONE else found

    def scan(self, collection: Collection) -> Iterator[tuple[Key, Any]]:
        """All members, in no order to rely on."""
        merged = {**self._store.all(collection), **self._changes.get(collection, {})}
        return ((key, value) for key, value in merged.items() if value is not _GONE)

    def put(self, collection: Collection, key: Key, value: Any) -> None:
        """Add or replace a member."""
        self._changes.setdefault(collection, {})[key] = value

    def drop(self, collection: Collection, key: Key) -> None:
        """Remove a member."""
        self.put(collection, key, _GONE)

    def begin(self, savepoint: int) -> int:
        """Open a savepoint and return its number."""
        self.use(savepoint, writes=True)
        if len(self._savepoints) == MAX_SAVEPOINTS:
            raise ApiRefusal("transaction_open", f"transactions are nested at most {MAX_SAVEPOINTS} deep")
        self._begun += 1
        before = {collection: dict(members) for collection, members in self._changes.items()}
        self._savepoints.append(_Savepoint(self._begun, before))
        return self._begun

    def end(self, savepoint: int, *, keep: bool) -> None:
        """Keep or undo what was done since the innermost savepoint. Raises ApiRefusal when it cannot be kept."""
        self._check_usable(savepoint, doomed=True)
        if not self._savepoints:
            raise ApiRefusal("transaction_ended", "no transaction is open")
        ended = self._savepoints.pop()
        if not keep or ended.failure is not None:
            self._changes = ended.before
        if keep and ended.failure is not None:
            raise ApiRefusal(
                "transaction_failed", "a database operation of this transaction failed, so all of it is undone"
            )

    def doom(self, failure: ApiRefusal) -> None:
        """What the database refused leaves what was before the innermost savepoint, or nothing."""
        if self._savepoints:
            self._savepoints[-1].failure = failure
        else:
            self.failure = failure

    def settle(self) -> None:
        """Nothing more comes from the plugin. Raises ApiRefusal when what it did cannot be kept."""
        if self._savepoints and self.failure is None:
            self.failure = ApiRefusal("transaction_open", "a transaction that it had opened was still open")
        self._check_sound()

    def commit(self, result: bytes) -> None:
        """Make the changes and the result everybody's."""
        self.settle()
        if self._claimed:
            self.put(INBOX, self._key, result)
        for collection, members in self._changes.items():
            kept = {**self._store.all(collection), **members}
            self._store.collections[collection] = {key: value for key, value in kept.items() if value is not _GONE}
        self._changes = {}

    def _check_usable(self, savepoint: int, *, doomed: bool = False) -> None:
        self._check_sound()
        innermost = self._savepoints[-1] if self._savepoints else None
        if innermost is None and savepoint:
            raise ApiRefusal("transaction_ended", "this transaction has ended")
        if innermost is not None and savepoint != innermost.number:
            raise ApiRefusal(
                "transaction_open",
                "another part of this call has a transaction open: do this inside of it, or when it has ended",
            )
        if innermost is not None and innermost.failure is not None and not doomed:
            raise ApiRefusal("transaction_failed", "an earlier database operation of this transaction failed")

    def _check_sound(self) -> None:
        if self.failure is not None:
            raise ApiRefusal("transaction_failed", "an earlier database operation of this call failed")
