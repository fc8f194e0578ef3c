"""What strikes when, drawn from a seed: the same seed gives the same plan, whatever the machine is doing."""

import random
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Injection:
    """One strike. ``after`` is how many sales of its stage flow first; ``seed`` decides what the fault leaves open."""

    fault: str
    after: int
    seed: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Strikes one after the other; for each of them ``stage`` sales flow, at least."""

    stage: int
    injections: tuple[Injection, ...]


def draw(faults: Sequence[str], *, sales: int, rounds: int, seed: int) -> Plan:
    """Every fault once a round, in an order of its own each round, at a random moment of its stage."""
    rng = random.Random(seed)  # noqa: S311 - repeatable, not secret
    order = [fault for _ in range(rounds) for fault in rng.sample(faults, k=len(faults))]
    stage = sales // (len(order) + 1)  # the last stage is for recovering from the last fault
    return Plan(
        stage,
        tuple(Injection(fault, rng.randrange(1, max(2, stage * 3 // 5)), rng.getrandbits(32)) for fault in order),
    )
