"""Attacks the sandbox and prints how it fared: ``python -m tests.attacks [part of an attack's name ...]``."""

import argparse
import asyncio
import sys
from collections.abc import Callable
from operator import attrgetter

from services.runtime.sandbox import detect_tier, hide_from_other_processes
from tests.attacks import battery, table, walled
from tests.attacks.attack import Pace
from tests.attacks.catalogue.every import possible


async def main(wanted: list[str], slowness: float) -> int:
    """Run the attacks whose names have one of ``wanted`` in them, or all. 0 when the walls held them all."""
    hide_from_other_processes()  # as the worker does
    # How an emulator shares out its time says nothing of the walls.
    keeps: Callable[[Pace], bool] = attrgetter("calm") if slowness == 1 else lambda _: True
    outcomes = []
    show(table.HEAD)
    async with walled.zygote() as zygote:
        tier = await detect_tier(zygote)
        for attack in possible():
            if not wanted or any(part in attack.name for part in wanted):
                outcomes.append(await battery.run(attack, zygote, keeps=keeps, slowness=slowness))
                show(table.line(outcomes[-1]))
    show(table.total(outcomes, tier))
    return int(any(outcome.through or not outcome.proves_something for outcome in outcomes))


def show(text: str) -> None:
    """Print one line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Attacks the sandbox and prints how it fared.")
    parser.add_argument("name", nargs="*", help="part of the names of the attacks to run; without any, all run")
    parser.add_argument(
        "--slowness", type=float, default=1.0, help="by how much to wait longer; not 1: no pace is judged"
    )
    arguments = parser.parse_args()
    sys.exit(asyncio.run(main(arguments.name, arguments.slowness)))
