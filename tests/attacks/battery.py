"""Runs attacks, each in a bare process and behind the walls, and judges what was seen."""

import tempfile
from dataclasses import dataclass
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

    @property
    def proves_something(self) -> bool:
        """Whether it succeeded in a bare process, as it should unless the system itself refuses it."""
        return self.bare.through or self.attack.may_be_refused

    @property
    def through(self) -> bool:
        """Whether the walls did not hold, which they did not either when the neighbour lost its pace."""
        return self.walled.through or not self.pace.kept


async def run(attack: Attack, zygote: Zygote, times: int = TIMES) -> Outcome:
    """Run one attack bare, and behind the walls until the neighbour keeps its pace, at most so many ``times``."""
    with tempfile.TemporaryDirectory(prefix="outlet-attack-") as name, processes.adopting_orphans():
        folder = Path(name)
        package = plugins.build(attack, folder)
        naked = await bare.run(attack, package, folder)
        for _ in range(times):
            behind, pace = await walled.run(attack, package, folder, zygote)
            if behind.through or pace.kept:
                break
        return Outcome(attack, naked, behind, pace)
