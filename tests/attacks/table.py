"""The battery's outcome as a table, and as one line for machines."""

import json
from collections.abc import Sequence

from outlet._frames import Tier
from tests.attacks.battery import Outcome

HEAD = f"{'attack':<62} {'bare':<8} {'walls':<8} {'neighbour p50, ms':>20}   behind the walls it ended with"


def line(outcome: Outcome) -> str:
    """One attack: whether it got through each time, and its neighbour's pace before and during it."""
    pace = f"{outcome.pace.before:.2f} -> {outcome.pace.during:.2f}"
    name = f"{outcome.attack.group}: {outcome.attack.name}"
    naked, walled = (_word(through) for through in (outcome.bare.through, outcome.through))
    return f"{name:<62} {naked:<8} {walled:<8} {pace:>20}   {outcome.walled.ending[:90]}"


def total(outcomes: Sequence[Outcome], tier: Tier) -> str:
    """``ATTACKS {json}``."""
    figures = {
        "tried": len(outcomes),
        "through_bare": sum(outcome.bare.through for outcome in outcomes),
        "through": sum(outcome.through for outcome in outcomes),
        "tier": tier,
    }
    return f"ATTACKS {json.dumps(figures)}"


def _word(through: bool) -> str:
    return "through" if through else "held"
