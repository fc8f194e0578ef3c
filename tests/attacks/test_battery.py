"""Every attack once: it succeeds in a bare process, and behind the walls it fails and its neighbour is served.

How fast the neighbour is served meanwhile is held against how fast it was before and after, in no unit of time: the
machine may be slow, and have other work. What seems to slow the neighbour down is tried again. `make attacks` judges
strictly.
"""

import os
from collections.abc import AsyncIterator
from operator import attrgetter

import pytest

from services.runtime.sandbox import Zygote, detect_tier
from tests.attacks import battery, walled
from tests.attacks.attack import Attack
from tests.attacks.catalogue.every import ATTACKS, possible
from tests.support.real import without


@pytest.fixture(scope="module")
async def zygote() -> AsyncIterator[Zygote]:
    async with walled.zygote() as running:
        if await detect_tier(running) > "B":
            without("the system offers no walls to attack", os.environ)
        yield running


@pytest.mark.parametrize("attack", [pytest.param(attack, id=attack.name) for attack in possible()])
async def test_an_attack_succeeds_in_a_bare_process_and_fails_behind_the_walls(attack: Attack, zygote: Zygote) -> None:
    outcome = await battery.run(attack, zygote, keeps=attrgetter("steady"))
    assert outcome.proves_something, "an attack that does not succeed in a bare process proves nothing"
    assert not outcome.walled.through, outcome.walled.ending
    assert outcome.pace_kept, f"the neighbour's calls took {outcome.pace}"
    if not outcome.bare.through:
        # It cannot be shown to need the walls here: this user or kernel refuses it to everybody.
        pytest.skip("the system itself refuses it, walls or not")


def test_no_two_attacks_share_a_name() -> None:
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS) >= 45
