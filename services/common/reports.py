"""What a worker reports of one installation, at most once a second, on topic ``outlet.executions``."""

import msgspec


class ExecutionError(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """One failure of a plugin. ``at`` is RFC 3339; ``during`` names the hook or route."""

    at: str
    code: str
    message: str
    stack: str
    during: str
    event_id: str | None = None


class ExecutionSummary(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """Counts since the worker's last summary of this installation.

    ``sequence`` grows with every summary of a worker, so that (installation, worker, sequence) tells a repetition.
    """

    installation_id: str
    organization_id: str
    worker_id: str
    sequence: int
    hook_runs: int = 0
    hook_errors: int = 0
    route_calls: int = 0
    api_calls: int = 0
    last_used: str
    errors: tuple[ExecutionError, ...] = ()


def encode_summary(summary: ExecutionSummary) -> bytes:
    return msgspec.json.encode(summary)


def decode_summary(value: bytes) -> ExecutionSummary:
    """Raises :class:`msgspec.DecodeError`."""
    return msgspec.json.decode(value, type=ExecutionSummary)
