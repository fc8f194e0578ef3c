"""Key-value data: what one page of it is, and how long a value lives."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any


@dataclass(frozen=True, slots=True)
class DataPage(Mapping[str, Any]):
    """Keys and their values, in order; ``cursor`` asks for the next page and is None after the last one."""

    items_by_key: dict[str, Any]
    cursor: str | None = None

    def __getitem__(self, key: str) -> Any:
        return self.items_by_key[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.items_by_key)

    def __len__(self) -> int:
        return len(self.items_by_key)


def page(answer: dict[str, Any]) -> DataPage:
    """The page in the platform's answer."""
    return DataPage(dict(answer["items"]), answer["cursor"])


def seconds(expires_in: float | timedelta | None) -> float | None:
    """A lifetime as the platform takes it."""
    return expires_in.total_seconds() if isinstance(expires_in, timedelta) else expires_in
