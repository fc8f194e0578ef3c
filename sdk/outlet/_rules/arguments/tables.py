"""The arguments of the methods of custom tables."""

from typing import Any

from outlet._rules.arguments import Arguments


class Define(Arguments):
    name: str
    definition: Any


class Find(Arguments):
    table: str
    where: dict[str, Any] | None = None
    sort: list[str] = []
    limit: int = 100


class Create(Arguments):
    table: str
    values: dict[str, Any]


class Update(Arguments):
    table: str
    where: dict[str, Any]
    values: dict[str, Any] = {}
    increment: dict[str, Any] = {}


class Upsert(Arguments):
    table: str
    key: dict[str, Any]
    values: dict[str, Any] = {}
    increment: dict[str, Any] = {}


class Delete(Arguments):
    table: str
    where: dict[str, Any]


class Aggregate(Arguments):
    table: str
    where: dict[str, Any] | None = None
    group_by: list[str] = []
    functions: dict[str, list[str]] = {}
