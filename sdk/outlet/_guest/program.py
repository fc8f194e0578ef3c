"""A loaded plugin: runs one call and says how it ended."""

import errno
import traceback
from collections.abc import Collection
from datetime import datetime
from typing import Annotated
from urllib.parse import parse_qsl

import msgspec

from outlet import _json, _values
from outlet._api import Api
from outlet._background import Job, Tick
from outlet._calls import HookCall, JobCall, RouteCall, RouteResult, TickCall, UpdateCall
from outlet._errors import Problem
from outlet._events import Event
from outlet._frames import MAX_MESSAGE, MAX_WHOLE_PAYLOAD, Call, Failure, Result
from outlet._guest.failures import cut, describe
from outlet._guest.responses import BadResult, refuse, respond
from outlet._guest.routing import MethodNotAllowed, RouteNotFound, Router
from outlet._plugin import Plugin, hook_handlers, job_handlers, lifecycle_handlers, route_handlers, schedule_handlers
from outlet._requests import Caller, Request
from outlet._updates import Update

Moment = Annotated[datetime, msgspec.Meta(tz=True)]

_hook_call = msgspec.msgpack.Decoder(HookCall)
_route_call = msgspec.msgpack.Decoder(RouteCall)
_tick_call = msgspec.msgpack.Decoder(TickCall)
_job_call = msgspec.msgpack.Decoder(JobCall)
_update_call = msgspec.msgpack.Decoder(UpdateCall)
_encoder = msgspec.msgpack.Encoder()


class InvalidEvent(Exception):
    """The event's time or data cannot be read."""


class Program:
    """The handlers of one plugin. ``paths`` are the files of its package, which tracebacks are cut down to."""

    def __init__(self, plugin: Plugin, paths: Collection[str]) -> None:
        self._paths = paths
        self._lifecycle = lifecycle_handlers(plugin)
        self._hooks = hook_handlers(plugin)
        self._router = Router(route_handlers(plugin))
        self._schedules = schedule_handlers(plugin)
        self._jobs = job_handlers(plugin)

    async def run(self, call: Call, payload: bytes, api: Api) -> Result:
        """Run one call to its end: whatever the plugin does becomes a result.

        Raises MemoryError alone, when there is not enough left to describe one.
        """
        try:
            if call.kind == "hook":
                await self._hook(_hook_call.decode(payload), api)
                return Result(call.id, b"")
            if call.kind == "route":
                return Result(call.id, await self._route(payload, api))
            if call.kind == "schedule":
                return Result(call.id, await self._tick(payload, api))
            if call.kind == "job":
                return Result(call.id, await self._job(payload, api))
            return Result(call.id, await self._lifecycle_hook(call.target, payload, api))
        except BaseException as error:  # noqa: BLE001  the plugin's code may raise anything
            return Result(call.id, b"", self._failure(error))

    async def run_hook(self, call: HookCall, api: Api) -> Failure | None:
        """Run the hook for one event to its end; why it failed. Raises as :meth:`run` does."""
        try:
            await self._hook(call, api)
        except BaseException as error:  # noqa: BLE001  the plugin's code may raise anything
            return self._failure(error)
        return None

    def _failure(self, error: BaseException) -> Failure:
        if isinstance(error, BadResult):
            return Failure("plugin_bad_result", cut(str(error), MAX_MESSAGE))
        if isinstance(error, InvalidEvent):
            return Failure("invalid_event", cut(str(error), MAX_MESSAGE))
        if isinstance(error, SystemExit | KeyboardInterrupt):
            return describe("plugin_exited", error, self._paths)
        if not _out_of_memory(error):
            return describe("plugin_raised", error, self._paths)
        traceback.clear_frames(error.__traceback__)  # what the plugin held is needed to tell of it
        return describe("plugin_limit_exceeded", error, self._paths)

    async def _hook(self, call: HookCall, api: Api) -> None:
        event = _event(call)
        handler = self._hooks.get(call.type)
        if handler is None:
            raise BadResult(f"the plugin has no hook {call.type!r}")
        result = await handler(api, event)
        if result is not None:
            _expect_nothing(result, call.type)

    async def _lifecycle_hook(self, target: str, payload: bytes, api: Api) -> bytes:
        told = [Update(from_version=_update_call.decode(payload).from_version)] if target == "onUpdate" else []
        for name, handler in self._lifecycle.items():
            if name == target:
                _expect_nothing(await handler(api, *told), target)
        return b""

    async def _tick(self, payload: bytes, api: Api) -> bytes:
        call = _tick_call.decode(payload)
        handler = self._schedules.get(call.schedule)
        if handler is None:
            raise BadResult(f"the plugin has no schedule {call.schedule!r}")
        tick = Tick(id=call.id, schedule=call.schedule, planned=datetime.fromisoformat(call.planned))
        _expect_nothing(await handler(api, tick), call.schedule)
        return b""

    async def _job(self, payload: bytes, api: Api) -> bytes:
        call = _job_call.decode(payload)
        handler = self._jobs.get(call.name)
        if handler is None:
            raise BadResult(f"the plugin has no job {call.name!r}")
        job = Job(
            id=call.id,
            name=call.name,
            payload=_values.decode(call.payload),
            attempt=call.attempt,
            enqueued=datetime.fromisoformat(call.enqueued),
        )
        _expect_nothing(await handler(api, job), call.name)
        return b""

    async def _route(self, payload: bytes, api: Api) -> bytes:
        asked = _route_call.decode(payload)
        result = await self._answer(asked, api)
        data = _encoder.encode(result)
        if len(data) > MAX_WHOLE_PAYLOAD:
            raise BadResult(f"the response has {len(result.body)} bytes; at most {MAX_WHOLE_PAYLOAD} are allowed")
        return data

    async def _answer(self, asked: RouteCall, api: Api) -> RouteResult:
        try:
            handler, params = self._router.match(asked.method, asked.path)
            return respond(await handler(api, _request(asked, params)))
        except (Problem, RouteNotFound, MethodNotAllowed) as refusal:
            return refuse(refusal)


def _expect_nothing(result: object, target: str) -> None:
    """Nobody reads what a hook returns: an author who returns something expects an effect that it does not have."""
    if result is not None:
        raise BadResult(f"the hook {target} returned {type(result).__name__}; a hook returns nothing")


def _event(call: HookCall) -> Event:
    try:
        time = msgspec.convert(call.time, Moment)
        data = _json.decode(call.data)
    except ValueError as error:
        raise InvalidEvent(f"event {call.id!r}: {error}") from error
    return Event(
        id=call.id,
        type=call.type,
        source=call.source,
        time=time,
        organization=call.organization,
        store=call.store,
        data=data,
    )


def _request(asked: RouteCall, params: dict[str, str]) -> Request:
    return Request(
        method=asked.method,
        path=asked.path,
        caller=Caller(asked.subject, asked.role, asked.store),
        params=params,
        query=dict(parse_qsl(asked.query, keep_blank_values=True)),
        headers={name.lower(): value for name, value in asked.headers},
        body=asked.body,
    )


def _out_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
