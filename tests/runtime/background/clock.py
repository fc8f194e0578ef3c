"""A clock that stands until a test moves it."""

from datetime import UTC, datetime, timedelta


class Clock:
    """Callable, like the clock of the parts under test."""

    def __init__(self, text: str | None = None) -> None:
        self.now = datetime.now(UTC) if text is None else datetime.fromisoformat(text).replace(tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **by: float) -> None:
        self.now += timedelta(**by)
