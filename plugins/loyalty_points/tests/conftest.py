"""A stand-in for the platform: the plugin's tables, settings and events in memory."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from outlet import Api, ApiError

Row = dict[str, Any]


class Platform:
    """Answers the API calls that the plugin makes, one transaction at a time, as the platform would."""

    def __init__(self) -> None:
        self.config: Row = {}
        self.definitions: dict[str, Row] = {}
        self.rows: dict[str, list[Row]] = {}
        self.events: list[tuple[str, Row]] = []

    @contextmanager
    def transaction(self) -> Iterator[Api]:
        """The API for one call of a handler; what it did is undone when the handler raises."""
        before = copy.deepcopy((self.config, self.definitions, self.rows, self.events))
        try:
            yield Api(self, organization="acme", config=self.config)
        except BaseException:
            self.config, self.definitions, self.rows, self.events = before
            raise

    async def call(self, method: str, arguments: Row) -> Any:
        match method:
            case "config.set":
                self.config[arguments["key"]] = arguments["value"]
            case "events.emit":
                self.events.append((arguments["event"], arguments["data"]))
            case "tables.define":
                self.definitions[arguments["name"]] = arguments["definition"]
                self.rows.setdefault(arguments["name"], [])
            case _:
                return getattr(self, "_" + method.removeprefix("tables."))(**arguments)
        return None

    def notify(self, method: str, arguments: Row) -> None:
        assert method == "log"

    def _find(self, table: str, where: Row | None, sort: list[str], limit: int) -> list[Row]:
        found = [row for row in self.rows[table] if _matches(row, where or {})]
        for term in reversed(sort):
            found.sort(key=lambda row: row[term.removeprefix("-")], reverse=term.startswith("-"))
        return copy.deepcopy(found[:limit])

    def _create(self, table: str, values: Row) -> Row:
        definition = self.definitions[table]
        assert set(values) <= set(definition["columns"])
        row = {name: values.get(name, column["default"]) for name, column in definition["columns"].items()}
        for name, column in definition["columns"].items():
            if row[name] is None and not column["nullable"]:
                raise ApiError("missing_value", name)
        for names in definition["unique"]:
            key = [row[name] for name in names]
            if None not in key and any([other[name] for name in names] == key for other in self.rows[table]):
                raise ApiError("unique_violation", ", ".join(names))
        self.rows[table].append(row)
        return dict(row)

    def _update(self, table: str, where: Row, values: Row, increment: Row) -> list[Row]:
        changed = [row for row in self.rows[table] if _matches(row, where)]
        for row in changed:
            row.update(values)
            row.update({name: row[name] + step for name, step in increment.items()})
        return copy.deepcopy(changed)

    def _upsert(self, table: str, key: Row, values: Row, increment: Row) -> Row:
        assert list(key) in self.definitions[table]["unique"]
        if not any(_matches(row, key) for row in self.rows[table]):
            self._create(table, dict(key))
        return self._update(table, key, values, increment)[0]


def _matches(row: Row, where: Row) -> bool:
    for field, wanted in where.items():
        operations = wanted if isinstance(wanted, dict) else {"eq": wanted}
        for operation, value in operations.items():
            if not {"eq": lambda a, b: a == b, "gte": lambda a, b: a >= b}[operation](row[field], value):
                return False
    return True


@pytest.fixture
def platform() -> Platform:
    return Platform()


@pytest.fixture
def moments() -> Callable[[], datetime]:
    """Times a minute apart, as a till's tickets have."""
    passed = iter(range(1, 10_000))
    return lambda: datetime(2026, 1, 5, 9, tzinfo=UTC) + timedelta(minutes=next(passed))
