"""API calls as a plugin would make them that means to reach what belongs to others: any argument may be forged."""

import random
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

from services.runtime.plugin_api.session import METHODS

MODELS = ("sale", "product", "customer", "employee", "store")
ENTITY_IDS = tuple(f"e{number}" for number in range(4))
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
MEMBERS = ("id", "storeId", "secret", "amount", "nested.secret", "nested.amount", "tags.0")
COLUMNS = ("id", "owner", "points", "amount", "mark", "created_at")
FORGED_FIELDS = ("organization_id", "organizationId", "store_id", "installation_id", "data", "name")
LEFT_OUT = ("transactions.", "transaction.", "fetch")
"""They reach no rows: what they do is open and end savepoints, and send requests to hosts that nobody granted."""


class Forger:
    """Draws calls. ``foreign`` are names that belong to others: organizations, stores, installations, tables, ..."""

    def __init__(self, seed: int, foreign: list[str]) -> None:
        self._rng = random.Random(seed)  # noqa: S311  repeatable, not secret
        self._foreign = foreign
        self._cursors: list[str] = []
        self._of_table = False
        self._methods = sorted(name for name in METHODS if not name.startswith(LEFT_OUT))
        self._often = [name for name in self._methods if name.startswith(("models.", "tables.", "data."))]
        self._plausible: dict[str, Callable[[], Any]] = {
            "model": lambda: self._rng.choice(MODELS),
            "table": lambda: "accounts",
            "id": self._id,
            "store": lambda: self._rng.choice((None, "s1", "s2", "*")),
            "where": self._where,
            "sort": lambda: [self._rng.choice(("", "-")) + self._field() for _ in range(self._rng.randrange(3))],
            "limit": lambda: self._rng.choice((1, 3, 100, 1_000)),
            "cursor": lambda: self._rng.choice((None, *self._cursors)),
            "values": self._values,
            "increment": lambda: {"points": 1} if self._rng.random() < 0.3 else {},
            "key": lambda: {"owner": self._id()} if self._rng.random() < 0.5 else self._id(),
            "group_by": lambda: [self._field()] if self._rng.random() < 0.5 else [],
            "functions": lambda: {self._rng.choice(("sum", "min", "max")): ["amount"]},
            "expires_in": lambda: None,
        }

    def remember(self, answer: Any) -> None:
        """Cursors that one installation was given are tried by all."""
        if isinstance(answer, dict) and isinstance(answer.get("cursor"), str):
            self._cursors = [*self._cursors[-50:], answer["cursor"]]

    def call(self, mark: str) -> tuple[str, dict[str, Any]]:
        """A method and its arguments; what it writes carries ``mark``."""
        name = self._rng.choice(self._often if self._rng.random() < 0.9 else self._methods)
        arguments = {
            field.name: self._argument(field.name) for field in msgspec.structs.fields(METHODS[name].arguments)
        }
        if self._rng.random() < 0.05:
            arguments[self._rng.choice(("organization", "installation", "scope"))] = self._rng.choice(self._foreign)
        if isinstance(arguments.get("values"), dict):
            arguments["values"] |= {"mark": mark}
        elif "value" in arguments:
            arguments["value"] = mark
        return name, arguments

    def chance(self, probability: float) -> bool:
        return self._rng.random() < probability

    def choose(self, options: list[Any]) -> Any:
        return self._rng.choice(options)

    def _argument(self, name: str) -> Any:
        if name in self._plausible and self._rng.random() < 0.97:
            return self._plausible[name]()
        return self._anything(3)

    def _anything(self, depth: int) -> Any:
        kind = self._rng.randrange(8 if depth else 5)
        if kind < 4:
            return self._rng.choice(self._foreign)
        if kind == 4:
            return self._rng.choice(
                (None, True, 0, -1, Decimal("0.5"), datetime(2026, 1, 1, tzinfo=UTC), "", "\0", b"x")
            )
        if kind == 5:
            return [self._anything(depth - 1) for _ in range(self._rng.randrange(3))]
        return {self._rng.choice(self._foreign): self._anything(depth - 1)}

    def _id(self) -> str:
        return self._rng.choice(ENTITY_IDS) if self._rng.random() < 0.8 else self._rng.choice(self._foreign)

    def _field(self) -> str:
        known = COLUMNS if self._of_table else MEMBERS
        return self._rng.choice(known if self._rng.random() < 0.9 else FORGED_FIELDS)

    def _where(self, depth: int = 2) -> Any:
        if self._rng.random() < 0.25:
            return {}
        if depth and self._rng.random() < 0.3:
            return {self._rng.choice(("and", "or")): [self._where(depth - 1) for _ in range(2)]}
        field = self._field()
        numbers = (None, 0, Decimal(1), 10**9)
        texts = (*self._foreign, *ENTITY_IDS, "leak", None)
        value = self._rng.choice(numbers if field in ("amount", "points", "nested.amount") else texts)
        operation = self._rng.choice(("eq", "ne", "lt", "gte", "contains", "in"))
        return {field: {operation: [value] if operation == "in" else value}}

    def _values(self) -> dict[str, Any]:
        values: dict[str, Any] = {"owner": self._id()} if self._of_table else {}
        for name in ("id", "storeId", "organizationId", "installation_id", "organization_id"):
            if self._rng.random() < 0.05:
                values[name] = self._id()
        return values
