"""The events that wait for the hooks of one installation: one key's one after the other, keys beside each other."""

from collections import deque
from collections.abc import Sequence
from itertools import chain
from typing import Protocol

from opentelemetry.trace import Span, SpanContext

from outlet._frames import MAX_PAYLOAD
from outlet.manifest import HookDeclaration, Limits
from services.common.directory import Installation
from services.common.events import DomainEvent
from services.common.tracing import Tracing
from services.runtime import spans
from services.runtime.commerce.personal_data import Hidden, hidden_from
from services.runtime.delivery.admission import Admission, admission
from services.runtime.delivery.origins import Origin
from services.runtime.invocation import Invocation, source_of
from services.runtime.invoker import guest_key, scope_data
from services.runtime.sandbox import RunningCall, ScopeData, hook_payload

SHARING_PER_SLOT = 4
MOST_PASSED_OVER = 256
"""Events of other variants of the installation that are passed over, at a time, to find more that are alike."""


class Endings(Protocol):
    """What becomes of events whose turn has come."""

    @property
    def tracing(self) -> Tracing:
        """Makes their spans."""

    def installation(self, installation_id: str) -> Installation | None:
        """The installation as it is now."""

    def open(self, run: "HookRun") -> RunningCall:
        """The hook makes its first API call."""

    def ended(self, run: "HookRun", outcome: Exception | None, seconds: float) -> None:
        """The hook ended without having made an API call."""

    def call_alone(self, run: "HookRun") -> None:
        """The event is not to go with others."""

    def hold(self, lane: "Lane") -> None:
        """What has not been tried is not to run now, but to be kept."""

    def waiting(self, lane: "Lane") -> None:
        """Events wait in a lane that may have had none."""

    def shares(self, lane: "Lane") -> bool:
        """Whether its hooks share their transactions."""

    def empty(self, lane: "Lane") -> None:
        """A lane has no more work."""


class HookRun:
    """One event for one installation's hook. ``event`` is what the installation may see, once its turn has come.

    ``installation`` is then the installation as it is in the event's store, and ``span`` that of this attempt, when it
    is recorded.
    """

    __slots__ = ("event", "installation", "lane", "origin", "span")

    def __init__(self, lane: "Lane", origin: Origin) -> None:
        self.lane = lane
        self.origin = origin
        self.installation = lane.installation
        self.event: DomainEvent = origin.event
        self.span: Span | None = None

    @property
    def invocation(self) -> Invocation:
        """The call as the host knows it."""
        event, lane = self.event, self.lane
        return Invocation(
            installation=self.installation,
            kind="hook",
            target=event.type,
            source=event.source,
            id=event.id,
            store=event.store,
            payload=hook_payload(event),
            deadline=lane.hook_deadline,
            trace=self.trace,
        )

    @property
    def trace(self) -> SpanContext | None:
        """What its API calls are part of."""
        return self.origin.trace if self.span is None else self.span.get_span_context()

    def begin(self) -> None:
        """Its turn has come, and is recorded."""
        event, entry, parent = self.event, self.origin.entry, self.origin.trace
        tracing = self.lane.endings.tracing
        if parent is not None and tracing.on:
            attempt = entry.attempts if entry else 1
            self.span = spans.hook(tracing, self.lane.installation, event.type, event.store, parent, attempt)

    def open(self) -> RunningCall:
        return self.lane.endings.open(self)

    def ended(self, outcome: Exception | None, seconds: float) -> None:
        self.lane.endings.ended(self, outcome, seconds)

    def finish(self, failure: str | None = None) -> None:
        """Nothing is left to do, after a ``failure`` with this code: the next event of its key has its turn."""
        if self.span is not None:
            spans.ended(self.span, failure)
        self.lane.leave(self)
        self.origin.ended()


class Lane:
    """One installation's. It exists only while it has work."""

    def __init__(self, installation: Installation, endings: Endings, hook_deadline: float) -> None:
        self.endings = endings
        self.hook_deadline = hook_deadline
        self._waiting: deque[HookRun] = deque()
        self._behind: dict[bytes, deque[HookRun] | None] = {}
        """The keys whose turn somebody has, and who comes after."""
        self.ended = 0
        """Events that have had their turn."""
        self._adopt(installation)

    def __len__(self) -> int:
        """Keys that have work."""
        return len(self._behind)

    def submit(self, origin: Origin) -> None:
        """The event waits for its turn from now on."""
        run, key = HookRun(self, origin), origin.key
        if key not in self._behind:
            self._behind[key] = None
            self._waiting.append(run)
            return
        behind = self._behind[key]
        if behind is None:
            self._behind[key] = behind = deque()
        behind.append(run)

    @property
    def per_slot(self) -> int:
        """Hooks that share a transaction take one connection together, so more of them may run."""
        return SHARING_PER_SLOT if self.limits.concurrency is None and self.endings.shares(self) else 1

    def leave(self, run: HookRun) -> None:
        """The event has had its turn."""
        self.ended += 1
        key = run.origin.key
        behind = self._behind[key]
        if not behind:
            del self._behind[key]
            if not self._behind:
                self.endings.empty(self)
            return
        self._waiting.append(behind.popleft())
        self.endings.waiting(self)

    def take(self, most: int, most_bytes: int) -> Sequence[HookRun]:
        """See :class:`services.runtime.sandbox.HookSource`."""
        current = self.endings.installation(self.installation.id)
        admitted = admission(current)
        if current is None or admitted is Admission.DROP:
            self.give_back()
            return []
        if admitted is not Admission.RUN and self.untried:
            self.endings.hold(self)
        if current.revision != self.installation.revision and guest_key(current) != self.guest_key:
            # This lane's turn is in the former version's guest; the ledger brings its events to the new one's.
            self.endings.hold(self)
            admitted = Admission.HOLD
        if admitted is Admission.HOLD:
            self.give_back()
            return []
        if current.revision != self.installation.revision:
            self._adopt(current)
        taken: list[HookRun] = []
        while self._waiting and not taken:
            self._present(self.installation.at(self._waiting[0].origin.event.store))
            taken = self._take_alike(most, most_bytes)
        return taken

    def _take_alike(self, most: int, most_bytes: int) -> list[HookRun]:
        """The next events in whose stores the installation is what it is now. The others keep their places."""
        taken: list[HookRun] = []
        passed_over: list[HookRun] = []
        size, varied = 0, bool(self.installation.variants)
        while self._waiting and len(taken) < most and size < most_bytes and len(passed_over) < MOST_PASSED_OVER:
            run = self._waiting.popleft()
            if varied and self.installation.at(run.origin.event.store) is not self._here:
                passed_over.append(run)
                continue
            run.installation = self._here
            run.event = run.origin.view(self._hidden)
            if run.origin.sampled:
                run.begin()
            length = len(run.event.data)
            if length > MAX_PAYLOAD or (run.origin.entry is not None and run.origin.entry.alone):
                self.endings.call_alone(run)
                continue
            size += length
            taken.append(run)
        self._waiting.extendleft(reversed(passed_over))
        return taken

    def give_back(self) -> None:
        """Judged when their turn comes: what was deactivated while its events waited does not run any more."""
        while self._waiting:
            run = self._waiting.popleft()
            self.leave(run)
            run.origin.give_back()

    def take_behind(self, run: HookRun, *, ordered_only: bool) -> list[HookRun]:
        """The events that wait behind ``run`` and must stay behind it: they leave this lane."""
        behind = self._behind[run.origin.key]
        if not behind:
            return []
        taken = [each for each in behind if each.origin.entry is None and self._stays(each, ordered_only=ordered_only)]
        self._behind[run.origin.key] = deque(each for each in behind if each not in taken)
        return taken

    def take_untried(self) -> list[HookRun]:
        """All that came from Kafka and whose turn has not come, in order per key: it leaves this lane."""
        taken: list[HookRun] = []
        waiting, self._waiting = self._waiting, deque()
        for run in waiting:
            if run.origin.entry is not None:
                self._waiting.append(run)
                continue
            taken.append(run)
            behind = self._behind.pop(run.origin.key) or deque()
            taken += [each for each in behind if each.origin.entry is None]
            for retried in (each for each in behind if each.origin.entry is not None):
                self.submit(retried.origin)
        for key, followers in self._behind.items():
            if followers:
                taken += [each for each in followers if each.origin.entry is None]
                self._behind[key] = deque(each for each in followers if each.origin.entry is not None)
        if not self._behind:
            self.endings.empty(self)
        return taken

    @property
    def untried(self) -> int:
        """How many events that would be."""
        followers = (each for behind in self._behind.values() if behind for each in behind)
        return sum(each.origin.entry is None for each in chain(self._waiting, followers))

    def _stays(self, run: HookRun, *, ordered_only: bool) -> bool:
        return not ordered_only or self.hook(run.event.type).ordered

    def hook(self, event: str) -> HookDeclaration:
        """What the plugin declares of its hook for a type of event."""
        return self._hooks.get(event) or HookDeclaration(event=event)

    def _adopt(self, installation: Installation) -> None:
        self.installation = installation
        self.guest_key = guest_key(installation)
        self.source = source_of(installation)
        self._presented: dict[str, tuple[ScopeData, Hidden]] = {}
        self._present(installation)
        self.limits: Limits = installation.manifest.limits
        own = self.limits.hook_seconds
        self.deadline = self.hook_deadline if own is None else min(own, self.hook_deadline)
        self._hooks = {hook.event: hook for hook in installation.manifest.hooks}

    def _present(self, here: Installation) -> None:
        """The events that are given next are of stores in which the installation is this one."""
        found = self._presented.get(here.variant)
        if found is None:
            found = self._presented[here.variant] = scope_data(here), hidden_from(here.grants)
        self._here = here
        self.scope, self._hidden = found
