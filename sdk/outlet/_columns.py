"""The column types of custom tables: ``from outlet import column``.

A column that is not ``nullable`` and has no ``default`` must be given a value in every row.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

import msgspec

ColumnType = Literal["text", "integer", "decimal", "boolean", "timestamp", "json"]


class Column(msgspec.Struct, frozen=True):
    """One column of a custom table. Made by the functions of this module."""

    type: ColumnType
    nullable: bool = False
    default: Any = None


def text(*, nullable: bool = False, default: str | None = None) -> Column:
    """Unicode text without NUL."""
    return Column("text", nullable, default)


def integer(*, nullable: bool = False, default: int | None = None) -> Column:
    """A whole number of 64 bits."""
    return Column("integer", nullable, default)


def decimal(*, nullable: bool = False, default: Decimal | int | str | None = None) -> Column:
    """An exact decimal number: money and quantities. Floats are refused."""
    return Column("decimal", nullable, default)


def boolean(*, nullable: bool = False, default: bool | None = None) -> Column:
    """True or False."""
    return Column("boolean", nullable, default)


def timestamp(*, nullable: bool = False, default: datetime | None = None) -> Column:
    """A moment, with a time zone; rows come back in UTC."""
    return Column("timestamp", nullable, default)


def json(*, nullable: bool = False, default: Any = None) -> Column:
    """Any JSON value."""
    return Column("json", nullable, default)
