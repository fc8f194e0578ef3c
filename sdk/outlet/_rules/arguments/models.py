"""The arguments of the methods of the stores' models."""

from typing import Any, Literal

from outlet._rules.arguments import Arguments

ModelName = Literal["sale", "product", "customer", "employee", "store"]


class Find(Arguments):
    model: ModelName
    where: dict[str, Any] | None = None
    sort: list[str] = []
    limit: int = 100
    cursor: str | None = None


class Get(Arguments):
    model: ModelName
    id: str
    store: str | None = None


class Create(Arguments):
    model: ModelName
    values: dict[str, Any]
    store: str | None = None


class Update(Arguments):
    model: ModelName
    id: str
    values: dict[str, Any]
    store: str | None = None


class Delete(Arguments):
    model: ModelName
    id: str
    store: str | None = None


class Aggregate(Arguments):
    model: ModelName
    where: dict[str, Any] | None = None
    group_by: list[str] = []
    functions: dict[str, list[str]] = {}


class AskStore(Arguments):
    store: str | None = None


class AskOrganization(Arguments):
    """No arguments."""
