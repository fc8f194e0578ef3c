"""The events that a guest has been sent: which of them it is to have begun, and since when."""

from collections import deque
from collections.abc import Sequence

from outlet._frames import FrameError
from services.runtime.sandbox.invocation import Delivery


class HookWindow:
    """A guest begins hooks in the order of their events, so many at once: so we know when each could begin.

    That is when its time starts, whatever the guest says. Times are seconds of the event loop's clock.
    """

    def __init__(self) -> None:
        self._sent: dict[int, Delivery] = {}
        self._behind: deque[int] = deque()
        self._begun: dict[int, float] = {}  # in the order of their beginning
        self._at_once = 0

    def __len__(self) -> int:
        return len(self._sent)

    def get(self, number: int) -> Delivery | None:
        """The event with this number, if it has not ended."""
        return self._sent.get(number)

    def add(self, first: int, deliveries: Sequence[Delivery], at_once: int, now: float) -> None:
        """Events were sent. ``at_once`` does not shrink while there are any."""
        numbers = range(first, first + len(deliveries))
        self._sent.update(zip(numbers, deliveries, strict=True))
        self._behind.extend(numbers)
        self._at_once = at_once
        while self._behind and len(self._begun) < at_once:
            self._begun[self._behind.popleft()] = now

    def end(self, number: int, now: float) -> tuple[Delivery, float]:
        """An event has ended: what it was, and how long it took. Raises FrameError when it cannot have begun."""
        began = self._begun.pop(number, None)
        if began is None:
            raise FrameError(f"an end of hook {number}, which does not run")
        if self._behind:
            self._begun[self._behind.popleft()] = now
        return self._sent.pop(number), now - began

    def oldest(self) -> float | None:
        """When the event began that began first of those that run."""
        return next(iter(self._begun.values()), None)

    def clear(self) -> dict[int, Delivery]:
        """Forget all; what there was."""
        sent, self._sent = self._sent, {}
        self._begun.clear()
        self._behind.clear()
        return sent
