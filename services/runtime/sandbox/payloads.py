"""The worker's edge of the opaque payloads: typed values in, bytes out, and back."""

import msgspec

from outlet._calls import JobCall, RouteCall, RouteResult, TickCall, UpdateCall
from services.common.events import DomainEvent
from services.common.runtime_client import PluginFailed

RouteRequest = RouteCall
UpdateRequest = UpdateCall

_encoder = msgspec.msgpack.Encoder()
_route_result = msgspec.msgpack.Decoder(RouteResult)


def hook_payload(event: DomainEvent) -> bytes:
    """The payload of a hook call. The event's data is passed on as it is."""
    return _encoder.encode(event)


def route_payload(request: RouteRequest) -> bytes:
    """The payload of a route call."""
    return _encoder.encode(request)


def tick_payload(tick: TickCall) -> bytes:
    """The payload of a schedule's call."""
    return _encoder.encode(tick)


def job_payload(job: JobCall) -> bytes:
    """The payload of a job's call."""
    return _encoder.encode(job)


def update_payload(update: UpdateCall) -> bytes:
    """The payload of an update's call."""
    return _encoder.encode(update)


def read_route_result(payload: bytes) -> RouteResult:
    """The response in a route's result; a guest may send anything. Raises PluginFailed (``plugin_bad_result``)."""
    try:
        result = _route_result.decode(payload)
    except (msgspec.DecodeError, RecursionError) as error:
        raise PluginFailed("plugin_bad_result", f"the route's result cannot be read: {error}") from error
    if not 200 <= result.status <= 599:
        raise PluginFailed("plugin_bad_result", f"status {result.status} is not from 200 to 599")
    return result
