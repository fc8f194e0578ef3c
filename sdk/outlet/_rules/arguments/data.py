"""The arguments of the methods of key-value data."""

from typing import Any

from outlet._rules.arguments import Arguments


class Get(Arguments):
    key: str


class Set(Arguments):
    key: str
    value: Any
    expires_in: float | None = None


class Increment(Arguments):
    key: str
    by: Any = 1
    expires_in: float | None = None


class List(Arguments):
    prefix: str = ""
    limit: int = 100
    cursor: str | None = None
