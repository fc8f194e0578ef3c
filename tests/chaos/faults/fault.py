"""What every fault has: a name, and a way in and out."""

import random
from abc import ABC, abstractmethod
from typing import ClassVar

from tests.chaos.flow import Flow
from tests.chaos.grounds import Grounds
from tests.chaos.scale import Scale


class Fault(ABC):
    """One kind of harm. For each strike: `aim`, `inject`, a while of `holds` seconds, `heal`.

    ``goes_on``: the platform must process sales while the fault lasts, not only after it.
    """

    name: ClassVar[str]
    goes_on: ClassVar[bool] = False

    def __init__(self, grounds: Grounds, flow: Flow, scale: Scale) -> None:
        self.grounds = grounds
        self.flow = flow
        self.scale = scale

    @property
    def holds(self) -> float:
        """How long the fault lasts, in seconds; 0 for one that strikes and is gone."""
        return 0.0

    @abstractmethod
    async def aim(self, rng: random.Random) -> str:
        """Choose what to hit, and wait for it to be there; says what it is. Not counted as recovery."""

    @abstractmethod
    async def inject(self) -> None:
        """Do the harm."""

    async def heal(self) -> None:
        """Undo what does not end by itself."""
        return
