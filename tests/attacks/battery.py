"""Runs attacks, each in a bare process and behind the walls, and judges what was seen."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

from services.runtime.sandbox import Zygote
from tests.attacks import bare, plugins, processes, walled
from tests.attacks.attack import Attack, Pace, Trial

TIMES = 3
"""The neighbour has to lose its pace so often in a row: the machine may have had other work."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an attack."""

    attack: Attack
    bare: Trial
    walled: Trial
    pace: Pace
    pace_kept: bool

    @property
    def proves_something(self) -> bool:
        """Whether it succeeded in a bare process, as it should unless the system itself refuses it."""
        return self.bare.through or self.attack.may_be_refused

    @property
    def through(self) -> bool:
        """Whether the walls did not hold, which they did not either when the neighbour lost its pace."""
        return self.walled.through or not self.pace_kept


async def run(
    attack: Attack, zygote: Zygote, *, keeps: Callable[[Pace], bool] = attrgetter("calm"), slowness: float = 1.0
) -> Outcome:
    """Run one attack bare, and behind the walls until the neighbour ``keeps`` its pace, at most three times.

    ``slowness``: by how much to multiply every time that the battery waits for.
    """
    with tempfile.TemporaryDirectory(prefix="outlet-attack-") as name, processes.adopting_orphans():
        folder = Path(name)
        package = plugins.build(attack, folder)
        naked = await bare.run(attack, package, folder, slowness)
        for _ in range(TIMES):
            behind, pace = await walled.run(attack, package, folder, zygote, slowness)
            if behind.through or keeps(pace):
                break
        return Outcome(attack, naked, behind, pace, keeps(pace))
