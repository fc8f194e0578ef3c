"""Which keys this worker has just made wait, where the ledger may not have said so yet."""

import time
from collections import Counter
from collections.abc import Callable, Collection

from services.runtime.delivery.ledger import OrderedKey

LONGEST_QUESTION_SECONDS = 300.0
"""Between asking the ledger about an event and acting on its answer, whatever is slow in between."""


class WaitingKeys:
    """Closes the gap between asking the ledger which keys wait and acting on its answer.

    A key that began to wait in between is remembered here until an answer can have known of it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: dict[OrderedKey, float] = {}
        self._adding: Counter[OrderedKey] = Counter()
        self.installations: set[str] = set()
        """Those with entries that later events must not overtake: as last heard of the ledger, and what came since."""
        self.slow: set[str] = set()
        """Those whose events all go by the ledger, until it has no more of them."""

    def adding(self, keys: Collection[OrderedKey]) -> None:
        """Entries with these keys are on their way to the ledger, until :meth:`added` is told."""
        self._adding.update(keys)
        for key in keys:
            self._since[key] = float("inf")
            self.installations.add(key[0])

    def added(self, keys: Collection[OrderedKey]) -> None:
        """The ledger knows them. Of a key that is added twice at a time, that is true once both are there."""
        now = self._clock()
        self._adding.subtract(keys)
        for key in keys:
            if not self._adding[key]:
                del self._adding[key]
                self._since[key] = now

    def heard(self, installations: set[str], asked: float) -> None:
        """Take over what the ledger said to what was ``asked`` then; forget what nobody can still be asking about."""
        self._since = {key: since for key, since in self._since.items() if since >= asked - LONGEST_QUESTION_SECONDS}
        self.installations = installations | {key[0] for key, since in self._since.items() if since >= asked}
        self.slow &= self.installations

    def now(self) -> float:
        """The time to give to :meth:`unknown_at`: take it before the ledger is asked."""
        return self._clock()

    def unknown_at(self, key: OrderedKey, asked: float) -> bool:
        """Whether the key waits, and an answer to what was ``asked`` then may not have known. Forgets what it knew."""
        since = self._since.get(key)
        if since is None:
            return False
        if since >= asked:
            return True
        del self._since[key]
        return False
