"""A semaphore whose holders may take more than one slot at once, served strictly in order."""

import asyncio
from collections import deque


class Slots:
    """``count`` slots, first come, first served: who takes all of them is not starved by takers of one."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._free = count
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, wanted: int) -> None:
        """Take ``wanted`` slots at once, when it is this caller's turn."""
        if not self._waiting and self._free >= wanted:
            self._free -= wanted
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((wanted, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._serve()  # whoever waited behind this one may fit now
            else:
                self.give_back(wanted)
            raise

    async def take_up_to(self, most: int) -> int:
        """Take one slot when it is this caller's turn, and up to ``most`` if they are free; how many they are."""
        await self.take(1)
        return 1 + self.take_free(most - 1)

    def take_free(self, most: int) -> int:
        """Take up to ``most`` slots that are free and that nobody waits for; how many they are."""
        taken = 0 if self._waiting else min(self._free, most)
        self._free -= taken
        return taken

    @property
    def wanted(self) -> bool:
        """Whether somebody waits."""
        return bool(self._waiting)

    def give_back(self, taken: int) -> None:
        """Return slots; whoever's turn it is gets them now."""
        self._free += taken
        self._serve()

    def _serve(self) -> None:
        while self._waiting:
            wanted, turn = self._waiting[0]
            if not turn.cancelled():
                if wanted > self._free:
                    return
                self._free -= wanted
                turn.set_result(None)
            self._waiting.popleft()
