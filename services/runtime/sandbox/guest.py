"""The worker's record of one guest process.

Whatever a guest sends is believed only as far as this record goes; one that breaks the protocol is killed, by closing
its connection.
"""

import asyncio
from collections.abc import Callable, Sequence

from outlet._frames import (
    MAX_WHOLE_PAYLOAD,
    ApiReply,
    Call,
    Calls,
    Confined,
    Done,
    Events,
    Exited,
    FrameError,
    FrameTooLarge,
    GuestFrame,
    LoadFailed,
    Part,
    PartBuffer,
    Ready,
    Result,
    Results,
    Scope,
    Tier,
    pack,
    pack_parts,
)
from services.common.runtime_client import PluginFailed
from services.runtime.sandbox.api_calls import ApiCalls
from services.runtime.sandbox.endings import verdict_on
from services.runtime.sandbox.errors import PluginInterrupted
from services.runtime.sandbox.invocation import ApiHandler, Delivery, GuestCall, RunningCall, ScopeData
from services.runtime.sandbox.launcher import Alive, Zygote
from services.runtime.sandbox.limits import LIMIT_EXCEEDED, GuestLimits
from services.runtime.sandbox.start import Start
from services.runtime.sandbox.stream import GuestStream
from services.runtime.sandbox.window import HookWindow


class Guest:
    """One process with one plugin loaded. Made by :meth:`start`; of no use any more once :attr:`usable` is false."""

    def __init__(self, limits: GuestLimits, minimum: Tier) -> None:
        loop = asyncio.get_running_loop()
        self.usable = False
        self.worn = False
        """It serves well, and another should be made for the calls to come."""
        self._limits = limits
        self._loop = loop
        self._stream = GuestStream(self._receive, self._broken, self._closed, self._flooded, limits.bytes_allowance())
        self._start = Start(minimum)
        self._api_calls = ApiCalls(self._stream, limits, self.end, self._reply)
        self._retiring = False
        self._ended: asyncio.Future[None] = loop.create_future()
        self._next = 1
        self._running: dict[int, RunningCall] = {}
        self._window = HookWindow()
        self._watch: asyncio.TimerHandle | None = None
        self._deadline = 0.0
        self._told: Callable[[int], None] = _nobody
        self._scopes: dict[tuple[str, str], tuple[int, int]] = {}  # installation, variant: (scope id, revision sent)
        self._parts = PartBuffer()
        self._alive: Alive | None = None
        self._inquest: asyncio.Task[None] | None = None

    @classmethod
    async def start(
        cls,
        zygote: Zygote,
        packages: Sequence[tuple[str, bytes]],
        limits: GuestLimits,
        *,
        deadline: float,
        minimum: Tier,
    ) -> "Guest":
        """Fork a guest, see its walls up and load a package, within ``deadline`` seconds from the fork.

        ``packages`` are digests and bytes: of the plugin, and after it of the libraries that it imports.

        Raises PluginFailed (``plugin_load_failed``, ``plugin_limit_exceeded``) or SandboxUnavailable, also when the
        walls are below ``minimum``.
        """
        guest = cls(limits, minimum)
        _, guest._alive = await zygote.connect(lambda: guest._stream)
        try:
            async with asyncio.timeout(deadline):
                await guest._start.load(guest._stream, packages, limits)
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
        number = self._take_numbers(1)
        timer = self._loop.call_later(deadline, self._overdue, deadline)

        def through() -> None:
            timer.cancel()
            give_back()

        running = self._running[number] = RunningCall(api, through)
        ahead, payload = pack_parts(number, call.payload)
        if ahead:
            self._stream.write(ahead)
        # A guest finds its route by the payload.
        target = "" if call.kind == "route" else call.target
        self._stream.send_call(Call(number, call.kind, target, scope, payload))
        return running

    def send_events(
        self,
        scope: ScopeData,
        deliveries: Sequence[Delivery],
        at_once: int,
        deadline: float,
        told: Callable[[int], None],
    ) -> None:
        """Send events to a usable guest: their hooks begin in this order, ``at_once`` at a time.

        ``deadline`` is seconds for one hook, from when it can begin; ``told`` gets how many ended, whenever some did.
        """
        if not deliveries:
            return
        self._deadline, self._told = deadline, told
        try:
            number = self._scope(scope)
            first = self._next
            frame = pack(Events(first, number, at_once, [delivery.event for delivery in deliveries]))
        except FrameTooLarge as error:
            half = len(deliveries) // 2
            if half == 0:
                why = f"the event, or the installation's settings, cannot be sent: {error}"
                deliveries[0].ended(PluginFailed("plugin_protocol_error", why), 0.0)
                told(1)
                return
            for part in (deliveries[:half], deliveries[half:]):
                self.send_events(scope, part, at_once, deadline, told)
            return
        self._take_numbers(len(deliveries))
        self._window.add(first, deliveries, at_once, self._loop.time())
        if self._watch is None:
            self._watch = self._loop.call_later(deadline, self._look_at_hooks)
        self._stream.write(frame)

    @property
    def events_sent(self) -> int:
        """Events that have been sent and have not ended."""
        return len(self._window)

    def end(self, verdict: PluginFailed | None, culprit: int | None = None) -> None:
        """Kill the guest and end its calls: with the verdict where it is clear whom it is about, else interrupted.

        It is about the call with the number ``culprit``, or about the only one that runs. None: nobody's fault.
        """
        self.usable = False
        self._stream.close()
        if self._watch is not None:
            self._watch.cancel()
        if not self._ended.done():
            self._ended.set_result(None)
        self._start.end(verdict)
        self._interrupt(verdict, culprit)

    def _interrupt(self, verdict: PluginFailed | None, culprit: int | None) -> None:
        running, self._running = self._running, {}
        sent = self._window.clear()
        # A guest may have got further with its events than it has told: which of them it was at, nobody knows.
        if verdict is not None and culprit is None and len(running.keys() | sent.keys()) == 1:
            (culprit,) = running.keys() | sent.keys()
        for number in [*sent, *(number for number in running if number not in sent)]:
            blamed = verdict is not None and number == culprit
            outcome = verdict if verdict is not None and blamed else PluginInterrupted("the guest ended")
            if number in running:
                running[number].finish(outcome)
            else:
                sent[number].ended(outcome, 0.0)
        if sent:
            self._told(len(sent))

    def retire(self) -> None:
        """Take no more calls, and end when those that run have ended."""
        self._retiring = True
        self._end_if_through()

    def _end_if_through(self) -> None:
        if self._retiring and not self._running and not self._window:
            self.end(None)

    def _take_numbers(self, count: int) -> int:
        first = self._next
        self._next += count
        return first

    async def closed(self) -> None:
        """Wait for what still runs on behalf of a guest that has ended."""
        if self._inquest is not None:
            await self._inquest

    def _scope(self, scope: ScopeData) -> int:
        known = self._scopes.get((scope.installation_id, scope.variant))
        if known is not None and known[1] == scope.revision:
            return known[0]
        number = len(self._scopes) + 1 if known is None else known[0]
        self._stream.send(Scope(number, scope.payload))
        self._scopes[scope.installation_id, scope.variant] = (number, scope.revision)
        return number

    def _receive(self, frame: GuestFrame) -> None:
        if self._ended.done():
            return
        match frame:
            case Done() if self.usable:
                self.worn = self.worn or frame.worn
                self._hooks_done(frame.ids)
            case Results() if self.usable:
                self.worn = self.worn or frame.worn
                for result in frame.results:
                    self._finish(result)
                    if self._ended.done():
                        return
            case Calls() if self.usable:
                for call in frame.calls:
                    self._api_calls.take(call, self._call_of(call.invocation))
                    if self._ended.done():
                        return
            case Part() if self.usable and frame.id in self._running:
                self._parts.add(frame)
            case Confined() if not self._start.confined:
                if not self._start.has_walls(frame.tier):
                    self.end(None)
            case Ready() if self._start.confined and not self.usable:
                self.usable = True
                self._start.is_ready()
            case LoadFailed() if not self.usable:
                self._start.fail(PluginFailed("plugin_load_failed", frame.message, frame.stack))
                self.end(None)
            case Exited():
                self.end(verdict_on(frame, self._limits))
            case _:
                raise FrameError(f"{type(frame).__name__} at the wrong time")

    def _hooks_done(self, ids: list[int]) -> None:
        now, ended = self._loop.time(), 0
        try:
            for number in ids:
                delivery, seconds = self._window.end(number, now)
                ended += 1
                running = self._running.pop(number, None)
                if running is None:
                    delivery.ended(None, seconds)
                else:
                    running.finish(b"")
        finally:  # also when a number among them is wrong
            self._told(ended)
        self._end_if_through()

    def _finish(self, result: Result) -> None:
        failure = result.failure
        if failure is not None and failure.code == LIMIT_EXCEEDED:
            if result.id not in self._running and self._window.get(result.id) is None:
                raise FrameError(f"a result of call {result.id}, which does not run")
            self.end(self._limits.memory_exceeded(failure.stack))
            return
        outcome: bytes | PluginFailed = self._parts.complete(result.id, result.payload)
        if failure is not None:
            outcome = PluginFailed(failure.code, failure.message, failure.stack)
        delivery = None
        seconds = 0.0
        if self._window.get(result.id) is not None:
            delivery, seconds = self._window.end(result.id, self._loop.time())
        running = self._running.pop(result.id, None)
        if running is not None:
            running.finish(outcome)
        elif delivery is not None:
            delivery.ended(outcome if isinstance(outcome, PluginFailed) else None, seconds)
        else:
            raise FrameError(f"a result of call {result.id}, which does not run")
        if delivery is not None:
            self._told(1)
        self._end_if_through()

    def _call_of(self, number: int) -> RunningCall:
        """The call that makes an API call. Raises FrameError when there is none."""
        running = self._running.get(number)
        if running is None:
            delivery = self._window.get(number)
            if delivery is None:
                raise FrameError(f"an API call of call {number}, which does not run")
            running = self._running[number] = delivery.open()
        return running

    def _reply(self, reply: ApiReply) -> None:
        if self.usable:
            self._stream.send_reply(reply)

    def _overdue(self, deadline: float) -> None:
        self.end(PluginFailed("plugin_timeout", f"no result within {deadline:g} s (the time limit)"))

    def _look_at_hooks(self) -> None:
        """End the guest when a hook has run for too long; else look again when the oldest one will have."""
        self._watch = None
        oldest = self._window.oldest()
        if oldest is None:
            return
        left = oldest + self._deadline - self._loop.time()
        if left > 0:
            self._watch = self._loop.call_later(left, self._look_at_hooks)
        else:
            verdict = PluginFailed("plugin_timeout", f"no result within {self._deadline:g} s (the time limit)")
            self.end(verdict)

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


def _nobody(_: int) -> None:
    return None
