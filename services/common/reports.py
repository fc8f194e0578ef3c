"""What a worker reports of one installation, about once a second, on topic ``outlet.executions``."""

from typing import Annotated, Literal

import msgspec

from services.common import latency

Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class ExecutionError(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """One failure. ``at`` is RFC 3339; ``during`` names the hook or route."""

    at: str
    code: str
    message: str
    stack: str
    during: str
    event_id: str | None = None
    source: Literal["plugin", "platform"] = "plugin"


class HookSummary(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """What one hook did in one store (``*``: in none).

    ``hook`` is an event type, a declared route (``METHOD /path``), ``schedule <name>`` or ``job <name>``. ``runs`` are
    those that ended, well or badly, with their seconds in ``latency`` (see :mod:`services.common.latency`); ``retries``
    of them were further attempts at events that had failed, and ``failed_retries`` of these failed again.
    """

    hook: str
    store: str
    runs: Count = 0
    errors: Count = 0
    retries: Count = 0
    failed_retries: Count = 0
    latency: dict[int, Count] = msgspec.field(default_factory=dict)

    @property
    def is_route(self) -> bool:
        return is_route(self.hook)


class ExecutionSummary(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """Counts since the worker's last summary of this installation.

    ``sequence`` grows with every summary of a worker, so that (installation, worker, sequence) tells a repetition.
    ``revision`` is the state of the installation, as the directory tells it, in which all of this began. The counts of
    runs, errors and route calls are the sums over ``hooks``.
    """

    installation_id: str
    organization_id: str
    worker_id: str
    sequence: int
    revision: int = 0
    hook_runs: Count = 0
    hook_errors: Count = 0
    route_calls: Count = 0
    api_calls: Count = 0
    last_used: str
    errors: tuple[ExecutionError, ...] = ()
    hooks: tuple[HookSummary, ...] = ()


def is_route(hook: str) -> bool:
    """Whether a hook's name is that of a route: ``METHOD /path``."""
    return hook.partition(" ")[2].startswith("/")


def encode_summary(summary: ExecutionSummary) -> bytes:
    return msgspec.json.encode(summary)


def decode_summary(value: bytes) -> ExecutionSummary:
    """Raises ValueError (which msgspec's errors are)."""
    summary = msgspec.json.decode(value, type=ExecutionSummary)
    for hook in summary.hooks:
        latency.check(hook.latency)
    return summary
