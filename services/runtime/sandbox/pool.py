"""The guests of a worker: one process per organization and plugin version, made on first use, ended when idle."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial

from outlet._frames import Tier
from outlet.manifest import Limits
from services.common.provenance import Provenance
from services.common.runtime_client import PLUGIN_REVOKED, PlatformRefusal
from services.common.tracing import apart
from services.runtime.sandbox.errors import SandboxUnavailable
from services.runtime.sandbox.feeding import HookFeed, HookSource
from services.runtime.sandbox.guest import Guest
from services.runtime.sandbox.invocation import ApiHandler, GuestCall, RunningCall
from services.runtime.sandbox.launcher import Zygote
from services.runtime.sandbox.limits import GuestLimits, OperatorLimits, granted
from services.runtime.sandbox.slots import Slots

STARTS_AT_ONCE = 16
DEFAULTS = Limits()


@dataclass(frozen=True, slots=True)
class GuestKey:
    """Which process a call belongs in, from the host's own record. Organizations never share one, nor do plugins.

    ``version`` and ``provenance`` are what the package is verified by when it is loaded; ``libraries`` are the packages
    that the plugin's code imports, verified likewise.
    """

    organization: str
    plugin_id: str
    digest: str
    version: str = ""
    provenance: Provenance | None = None
    libraries: tuple["GuestKey", ...] = ()

    @property
    def packages(self) -> tuple["GuestKey", ...]:
        """All that runs in the process: its own package, and after it the libraries'."""
        return (self, *self.libraries)


class SandboxPool:
    """Calls plugins, each in its own process.

    ``fetch_package`` gives the bytes of a package, verified; what it raises reaches the caller. At most ``concurrency``
    calls are in one guest at once; a guest without a call for ``idle_seconds`` ends; loading takes at most
    ``load_deadline`` seconds. ``limits`` are the most that manifests can ask for; guests whose walls are below the
    tier ``minimum`` run nothing.
    """

    def __init__(
        self,
        zygote: Zygote,
        fetch_package: Callable[[GuestKey], Awaitable[bytes]],
        *,
        concurrency: int = 8,
        limits: OperatorLimits | None = None,
        minimum: Tier = "D",
        idle_seconds: float = 300.0,
        load_deadline: float = 10.0,
    ) -> None:
        self._zygote = zygote
        self._fetch_package = fetch_package
        self._limits = replace(limits or OperatorLimits(), concurrency=concurrency)
        self._minimum: Tier = minimum
        self._idle_seconds = idle_seconds
        self._load_deadline = load_deadline
        self._starts = asyncio.Semaphore(STARTS_AT_ONCE)
        self._seats: dict[GuestKey, _Seat] = {}
        self._revoked: set[str] = set()
        self._closed = False

    def __len__(self) -> int:
        """How many guests run."""
        return sum(1 for seat in self._seats.values() if seat.guest is not None and seat.guest.usable)

    async def invoke(
        self,
        guest_key: GuestKey,
        call: GuestCall,
        api: ApiHandler,
        *,
        deadline: float,
        alone: bool = False,
        wanted: Limits = DEFAULTS,
    ) -> bytes:
        """Run one call and return its result's payload. ``deadline`` is seconds from when the call is sent.

        ``wanted`` is what the manifest of the package asks for.

        ``api`` answers the plugin's API calls; none of its runs outlives this call. ``alone``: no other call is in the
        guest meanwhile, so whatever happens to it is this call's doing.

        Raises PluginFailed, PluginInterrupted, SandboxUnavailable, or what ``fetch_package`` or ``api`` raised.
        """
        if self._closed:
            raise SandboxUnavailable("the sandbox is closed")
        return await self._seat(guest_key, wanted).invoke(call, api, deadline, alone=alone)

    def feed(self, guest_key: GuestKey, source: HookSource) -> None:
        """There are events at ``source``: take them to the guest as it gets through them."""
        if not self._closed:
            self._seat(guest_key, source.limits).feed.offer(source)

    def revoke(self, digest: str) -> None:
        """Run nothing of this package any more: its guests are ended at once, with the calls in them."""
        self._revoked.add(digest)
        for key, seat in self._seats.items():
            if any(each.digest == digest for each in key.packages):
                seat.end_guests()

    def restore(self, digest: str) -> None:
        """Run a package that was revoked again."""
        self._revoked.discard(digest)

    async def close(self) -> None:
        """End every guest; calls in them are interrupted."""
        self._closed = True
        seats = list(self._seats.values())
        self._seats.clear()
        for seat in seats:
            await seat.close()

    def _seat(self, key: GuestKey, wanted: Limits) -> "_Seat":
        seat = self._seats.get(key)
        if seat is None:
            limits = granted(wanted, self._limits)
            seat = self._seats[key] = _Seat(limits.concurrency, partial(self._start, key, limits))
            self._end_when_idle(key, seat)
        return seat

    async def _start(self, key: GuestKey, limits: GuestLimits) -> Guest:
        self._check_not_revoked(key)
        packages = [(each.digest, await self._fetch_package(each)) for each in key.packages]
        async with self._starts:
            self._check_not_revoked(key)
            guest = await Guest.start(
                self._zygote, packages, limits, deadline=self._load_deadline, minimum=self._minimum
            )
        if any(each.digest in self._revoked for each in key.packages):  # while it was loading
            guest.end(None)
            self._check_not_revoked(key)
        return guest

    def _check_not_revoked(self, key: GuestKey) -> None:
        for each in key.packages:
            if each.digest in self._revoked:
                name = f"{each.plugin_id} {each.version}"
                raise PlatformRefusal(PLUGIN_REVOKED, f"{name} was revoked: nothing of it is run")

    def _end_when_idle(self, key: GuestKey, seat: "_Seat") -> None:
        """Look again when the guest can have been idle for long enough, and not before."""
        loop = asyncio.get_running_loop()

        def look() -> None:
            idle_for = loop.time() - seat.last_used
            if seat.calls or not seat.feed.idle:
                seat.timer = loop.call_later(self._idle_seconds, look)
            elif idle_for < self._idle_seconds:
                seat.timer = loop.call_later(self._idle_seconds - idle_for, look)
            else:
                del self._seats[key]
                seat.end()

        seat.timer = loop.call_later(self._idle_seconds, look)


class _Seat:
    """Where the guest of one key is, or will be: calls queue here, whichever process serves them."""

    def __init__(self, concurrency: int, start: Callable[[], Awaitable[Guest]]) -> None:
        self.guest: Guest | None = None
        self._retired: list[Guest] = []
        self.slots = Slots(concurrency)
        # One slot stays free for routes, which people wait for.
        self.feed = HookFeed(self.slots, max(1, concurrency - 1), self._fed_guest)
        self.calls = 0
        """Calls that wait here or run, also those whose caller has gone away."""
        self.last_used = asyncio.get_running_loop().time()
        self.timer: asyncio.TimerHandle | None = None
        self._start = start
        self._starting: asyncio.Task[Guest] | None = None
        self._closed = False

    async def invoke(self, call: GuestCall, api: ApiHandler, deadline: float, *, alone: bool) -> bytes:
        """See :meth:`SandboxPool.invoke`."""
        self.calls += 1
        try:
            running = await self._send(call, api, deadline, alone=alone)
        except BaseException:
            self._through()
            raise
        return await running.outcome()

    async def close(self) -> None:
        """End the guest; nobody gets another one here."""
        self._closed = True
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait([self._starting])
        await self.feed.close()
        self.end()
        for guest in self._guests():
            await guest.closed()

    def end(self) -> None:
        """End the guest, and with it the calls in it."""
        if self.timer is not None:
            self.timer.cancel()
        self.end_guests()

    def end_guests(self) -> None:
        """End the guests that there are, and with them the calls in them."""
        for guest in self._guests():
            guest.end(None)

    async def _fed_guest(self) -> Guest:
        self.last_used = asyncio.get_running_loop().time()
        return await self._usable_guest()

    def _guests(self) -> list[Guest]:
        return self._retired if self.guest is None else [*self._retired, self.guest]

    async def _usable_guest(self) -> Guest:
        if self.guest is not None and self.guest.usable:
            if not self.guest.worn:
                return self.guest
            self.guest.retire()
            self._retired = [guest for guest in self._guests() if guest.usable]
            self.guest = None
        if self._starting is None:
            # What a guest does later is no part of the request that happened to need it first.
            self._starting = asyncio.create_task(self._start_unless_closed(), context=apart())
            self._starting.add_done_callback(self._started)
        return await asyncio.shield(self._starting)

    async def _start_unless_closed(self) -> Guest:
        try:
            if self._closed:
                raise SandboxUnavailable("the sandbox is closed")
            return await self._start()
        except asyncio.CancelledError:  # by close alone; those who wait were not cancelled themselves
            raise SandboxUnavailable("the sandbox was closed while the plugin was loading") from None

    def _started(self, starting: "asyncio.Task[Guest]") -> None:
        self._starting = None
        if not starting.cancelled() and starting.exception() is None:
            self.guest = starting.result()

    async def _send(self, call: GuestCall, api: ApiHandler, deadline: float, *, alone: bool) -> RunningCall:
        await self._usable_guest()  # everyone who waits shares one start, and its failure
        taken = self.slots.count if alone else 1
        await self.slots.take(taken)
        try:
            guest = await self._usable_guest()  # it may have ended before our turn came
            return guest.send(call, api, deadline, partial(self._through, taken))
        except BaseException:
            self.slots.give_back(taken)
            raise

    def _through(self, taken: int = 0) -> None:
        self.calls -= 1
        self.last_used = asyncio.get_running_loop().time()
        self.slots.give_back(taken)
