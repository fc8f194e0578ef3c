"""The worker's record of one guest process.

Whatever a guest sends is believed only as far as this record goes; one that breaks the protocol is killed, by closing
its connection.
"""

import asyncio
import itertools
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from outlet import _values
from outlet._frames import (
    MAX_MESSAGE,
    MAX_PAYLOAD,
    MAX_WHOLE_PAYLOAD,
    PROTOCOL,
    ApiCall,
    ApiReply,
    Call,
    Calls,
    Chunk,
    Confined,
    Exited,
    FrameError,
    FrameTooLarge,
    GuestFrame,
    Kind,
    Load,
    LoadFailed,
    Part,
    PartBuffer,
    Ready,
    Result,
    Results,
    Scope,
    Tier,
    pack_parts,
)
from outlet._guest.limits import OUT_OF_MEMORY
from services.common.runtime_client import PluginFailed
from services.runtime.plugin_api.errors import ApiRefusal
from services.runtime.sandbox.errors import PluginInterrupted, SandboxUnavailable
from services.runtime.sandbox.invocation import ApiHandler, RunningCall
from services.runtime.sandbox.launcher import Alive, Zygote
from services.runtime.sandbox.limits import LIMIT_EXCEEDED, GuestLimits
from services.runtime.sandbox.stream import CALL_COST, SECOND_COST, GuestStream, collection_paused
from services.runtime.sandbox.tiers import suffices


@dataclass(frozen=True, slots=True)
class ScopeData:
    """What a guest may know of an installation: sent once per guest and revision. ``payload`` is msgpack of Facts."""

    installation_id: str
    revision: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class GuestCall:
    """One call of a handler. ``target`` is the event type, the route or the lifecycle hook; ``payload`` is opaque."""

    kind: Kind
    target: str
    scope: ScopeData
    payload: bytes


class Guest:
    """One process with one plugin loaded. Made by :meth:`start`; of no use any more once :attr:`usable` is false."""

    def __init__(self, limits: GuestLimits, minimum: Tier) -> None:
        loop = asyncio.get_running_loop()
        self.usable = False
        self.worn = False
        """It serves well, and another should be made for the calls to come."""
        self._limits = limits
        self._minimum: Tier = minimum
        self._loop = loop
        self._log_lines = limits.log_allowance()
        self._stream = GuestStream(self._receive, self._broken, self._closed, self._flooded, limits.bytes_allowance())
        self._confined: asyncio.Future[None] = loop.create_future()
        self._retiring = False
        self._ready: asyncio.Future[None] = loop.create_future()
        self._ended: asyncio.Future[None] = loop.create_future()
        self._ids = itertools.count(1)
        self._running: dict[int, RunningCall] = {}
        self._scopes: dict[str, tuple[int, int]] = {}  # installation: (scope id, revision sent)
        self._parts = PartBuffer()
        self._alive: Alive | None = None
        self._inquest: asyncio.Task[None] | None = None

    @classmethod
    async def start(
        cls, zygote: Zygote, package: bytes, digest: str, limits: GuestLimits, *, deadline: float, minimum: Tier
    ) -> "Guest":
        """Fork a guest, see its walls up and load a package, within ``deadline`` seconds from the fork.

        Raises PluginFailed (``plugin_load_failed``, ``plugin_limit_exceeded``) or SandboxUnavailable, also when the
        walls are below ``minimum``.
        """
        guest = cls(limits, minimum)
        _, guest._alive = await zygote.connect(lambda: guest._stream)
        try:
            async with asyncio.timeout(deadline):
                guest._stream.send(Load(PROTOCOL, digest, len(package), limits.process))
                await guest._confined
                for begin in range(0, len(package), MAX_PAYLOAD):
                    guest._stream.send(Chunk(package[begin : begin + MAX_PAYLOAD]))
                await guest._ready
        except TimeoutError:
            raise PluginFailed("plugin_load_failed", f"the plugin was not ready within {deadline:g} s") from None
        finally:
            if not guest.usable:
                guest.end(None)
        return guest

    def send(self, call: GuestCall, api: ApiHandler, deadline: float, give_back: Callable[[], None]) -> RunningCall:
        """Send one call to a usable guest; ``give_back`` is called once the guest is through with it.

        Raises PluginFailed when the call is too large to be sent.
        """
        if len(call.payload) > MAX_WHOLE_PAYLOAD:
            raise PluginFailed("plugin_protocol_error", f"the call has more than {MAX_WHOLE_PAYLOAD} bytes")
        try:
            scope = self._scope(call.scope)
        except FrameTooLarge as error:
            raise PluginFailed(
                "plugin_protocol_error", f"the installation's settings are too large: {error}"
            ) from error
        number = next(self._ids)
        timer = self._loop.call_later(deadline, self._overdue, deadline)
        running = self._running[number] = RunningCall(api, give_back, timer)
        ahead, payload = pack_parts(number, call.payload)
        if ahead:
            self._stream.write(ahead)
        # A guest finds its route by the payload.
        target = "" if call.kind == "route" else call.target
        self._stream.send_call(Call(number, call.kind, target, scope, payload))
        return running

    def end(self, verdict: PluginFailed | None, culprit: RunningCall | None = None) -> None:
        """Kill the guest and end its calls: with the verdict where it is clear whom it is about, else interrupted.

        It is about ``culprit``, or about the only call there is. None: nobody's fault.
        """
        self.usable = False
        self._stream.close()
        if not self._ended.done():
            self._ended.set_result(None)
        for stage in (self._confined, self._ready):
            if not stage.done():
                stage.set_exception(_load_failed(verdict))
                stage.exception()  # whoever loads may have gone away
        running = list(self._running.values())
        self._running.clear()
        for call in running:
            blamed = verdict is not None and (call is culprit or len(running) == 1)
            call.finish(verdict if verdict is not None and blamed else PluginInterrupted("the guest ended"))

    def retire(self) -> None:
        """Take no more calls, and end when those that run have ended."""
        self._retiring = True
        if not self._running:
            self.end(None)

    async def closed(self) -> None:
        """Wait for what still runs on behalf of a guest that has ended."""
        if self._inquest is not None:
            await self._inquest

    def _scope(self, scope: ScopeData) -> int:
        known = self._scopes.get(scope.installation_id)
        if known is not None and known[1] == scope.revision:
            return known[0]
        number = len(self._scopes) + 1 if known is None else known[0]
        self._stream.send(Scope(number, scope.payload))
        self._scopes[scope.installation_id] = (number, scope.revision)
        return number

    def _receive(self, frame: GuestFrame) -> None:
        if self._ended.done():
            return
        match frame:
            case Results() if self.usable:
                self.worn = self.worn or frame.worn
                for result in frame.results:
                    self._finish(result)
                    if self._ended.done():
                        return
            case Calls() if self.usable:
                for call in frame.calls:
                    self._api_call(call)
                    if self._ended.done():
                        return
            case Part() if self.usable and frame.id in self._running:
                self._parts.add(frame)
            case Confined() if not self._confined.done():
                self._accept_walls(frame.tier)
            case Ready() if self._confined.done() and not self.usable:
                self.usable = True
                self._ready.set_result(None)
            case LoadFailed() if not self.usable:
                self._fail_loading(PluginFailed("plugin_load_failed", frame.message, frame.stack))
            case Exited():
                self.end(_verdict(frame, self._limits))
            case _:
                raise FrameError(f"{type(frame).__name__} at the wrong time")

    def _accept_walls(self, tier: Tier) -> None:
        if suffices(tier, self._minimum):
            self._confined.set_result(None)
        else:
            self._fail_loading(SandboxUnavailable(f"a guest has walls of tier {tier}; {self._minimum} is wanted"))

    def _fail_loading(self, error: Exception) -> None:
        for stage in (self._confined, self._ready):
            if not stage.done():
                stage.set_exception(error)
                stage.exception()  # only one of them is awaited
        self.end(None)

    def _finish(self, result: Result) -> None:
        running = self._running.get(result.id)
        if running is None:
            raise FrameError(f"a result of call {result.id}, which does not run")
        failure = result.failure
        if failure is not None and failure.code == LIMIT_EXCEEDED:
            self.end(self._limits.memory_exceeded(failure.stack))
            return
        del self._running[result.id]
        payload = self._parts.complete(result.id, result.payload)
        running.finish(payload if failure is None else PluginFailed(failure.code, failure.message, failure.stack))
        if self._retiring and not self._running:
            self.end(None)

    def _api_call(self, call: ApiCall) -> None:
        running = self._running.get(call.invocation)
        if running is None:
            raise FrameError(f"an API call of call {call.invocation}, which does not run")
        notice = call.id == 0
        if not self._stream.charge(CALL_COST):
            return
        if call.method == "log" and not self._log_lines.take(1):
            self.end(self._limits.log_lines_exceeded(), running)
        elif running.ended:
            self._reply(ApiReply(call.id, b"", ("invocation_ended", "nobody waits for this call any more")))
        elif running.has_room(notice=notice):
            begun = time.thread_time()
            with collection_paused():
                arguments = _arguments(call)
            if self._stream.charge((time.thread_time() - begun) * SECOND_COST):
                running.start(self._answer(running, call, arguments), notice=notice)
        elif not notice:  # notices may be lost
            verdict = PluginFailed("plugin_protocol_error", "too many API calls at once")
            self.end(verdict, running)

    async def _answer(self, running: RunningCall, call: ApiCall, arguments: dict[str, Any]) -> None:
        try:
            self._reply(_reply(call.id, _values.encode(await running.api(call.method, arguments))))
        except ApiRefusal as refusal:
            self._reply(ApiReply(call.id, b"", (refusal.code, refusal.message[:MAX_MESSAGE])))
        except Exception as error:  # noqa: BLE001  the platform's own failure is for whoever made the call to judge
            self._reply(ApiReply(call.id, b"", ("platform_failed", "the platform could not do this now")))
            running.conclude(error)

    def _reply(self, reply: ApiReply) -> None:
        if reply.id and self.usable:
            self._stream.send_reply(reply)

    def _overdue(self, deadline: float) -> None:
        self.end(PluginFailed("plugin_timeout", f"no result within {deadline:g} s (the time limit)"))

    def _flooded(self) -> None:
        self.end(self._limits.bytes_exceeded())

    def _broken(self, why: str) -> None:
        self.end(PluginFailed("plugin_protocol_error", why))

    def _closed(self) -> None:
        if not self._ended.done():
            self.usable = False
            self._inquest = self._loop.create_task(self._judge_silent_end())

    async def _judge_silent_end(self) -> None:
        """The stream ended without a word: the plugin's doing, unless its zygote is gone as well."""
        zygote_lives = self._alive is None or await self._alive()
        self.end(PluginFailed("plugin_exited", "the plugin's process ended") if zygote_lives else None)


def _arguments(call: ApiCall) -> dict[str, Any]:
    try:
        arguments = _values.decode(call.arguments)
    except _values.ValueRefused as error:
        raise FrameError(f"arguments of {call.method!r:.60}: {error}") from error
    if not isinstance(arguments, dict) or not all(isinstance(name, str) for name in arguments):
        raise FrameError(f"arguments of {call.method!r:.60}: not a mapping")
    return arguments


def _reply(number: int, answer: bytes) -> ApiReply:
    if len(answer) <= MAX_PAYLOAD:
        return ApiReply(number, answer)
    detail = f"the answer has {len(answer)} bytes; at most {MAX_PAYLOAD} are allowed: ask for fewer rows"
    return ApiReply(number, b"", ("answer_too_large", detail))


def _load_failed(verdict: PluginFailed | None) -> Exception:
    if verdict is None:
        return SandboxUnavailable("the guest was ended while it was loading")
    if verdict.code == LIMIT_EXCEEDED:
        return PluginFailed(verdict.code, f"{verdict.message}, while loading", verdict.stack)
    return PluginFailed("plugin_load_failed", f"while loading: {verdict.message}", verdict.stack)


def _verdict(ended: Exited, limits: GuestLimits) -> PluginFailed:
    if ended.signal == signal.SIGPROF:
        return limits.cpu_exceeded(in_a_call=True)
    if ended.signal in (signal.SIGXCPU, signal.SIGKILL) and ended.cpu_seconds >= limits.life_cpu_seconds:
        return limits.cpu_exceeded(in_a_call=False)
    if ended.status == OUT_OF_MEMORY:
        return limits.memory_exceeded()
    return PluginFailed("plugin_exited", _how_it_ended(ended))


def _how_it_ended(ended: Exited) -> str:
    if ended.signal == signal.SIGSYS:
        return "the plugin's process was ended because it made a system call that the sandbox forbids"
    if not ended.signal:
        return f"the plugin's process ended with status {ended.status}"
    try:
        name = signal.Signals(ended.signal).name
    except ValueError:
        name = f"signal {ended.signal}"
    return f"the plugin's process was ended by {name}"
