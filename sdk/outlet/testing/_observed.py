"""What a plugin did that a test looks at."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from outlet import _json
from outlet._calls import RouteResult


@dataclass(frozen=True, slots=True)
class Emitted:
    """An event of ``api.emit``. ``event`` is its own name; the full type is ``<plugin id>/<event>``."""

    event: str
    data: Any
    store: str


@dataclass(frozen=True, slots=True)
class Published:
    """An event that a change of an entity caused: ``product.updated`` with the whole document."""

    type: str
    data: Any
    store: str


@dataclass(frozen=True, slots=True)
class Notice:
    """A message of ``api.notify``."""

    user_id: str
    title: str
    message: str
    type: str


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line of ``api.log``; a line stays when its call fails."""

    level: str
    message: str
    meta: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Fetched:
    """A request of ``api.fetch``, as it would leave: names of headers in lower case, secrets in their place."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return _json.decode(self.body)


@dataclass(slots=True)
class WaitingJob:
    """A job that was enqueued and has not succeeded. ``attempts`` counts those that failed."""

    id: str
    name: str
    payload: Any
    due: datetime
    enqueued: datetime
    store: str | None
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a route answered. The names of ``headers`` are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @classmethod
    def of(cls, result: RouteResult) -> "Answer":
        """The answer in a route's result."""
        return cls(result.status, dict(result.headers), result.body)

    @property
    def ok(self) -> bool:
        """Whether the status is 200 to 299."""
        return 200 <= self.status <= 299

    @property
    def code(self) -> str | None:
        """The code of a problem document; None for any other answer."""
        if "problem+json" not in self.headers.get("content-type", ""):
            return None
        return str(self.json()["code"])

    def json(self) -> Any:
        """The body as JSON; a number with a fraction is a Decimal."""
        return _json.decode(self.body)


class PluginFailed(AssertionError):
    """The plugin itself failed, as the platform would say it; nothing of the call was kept.

    ``code`` is ``plugin_raised``, ``plugin_bad_result``, ``plugin_rate_limited``, ``plugin_timeout``, ``plugin_exited``
    or ``invalid_event``; ``stack`` is what its author is shown. What was raised is the cause.
    """

    def __init__(self, code: str, message: str, stack: str = "") -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.stack = stack


Kind = Literal["hook", "route", "lifecycle", "schedule", "job"]


@dataclass(slots=True)
class Observed:
    """All that was kept, in order, and what was logged and fetched."""

    emitted: list[Emitted] = field(default_factory=list)
    published: list[Published] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    jobs: list[WaitingJob] = field(default_factory=list)
    logs: list[LogLine] = field(default_factory=list)
    fetched: list[Fetched] = field(default_factory=list)
