"""Every attack once: it succeeds in a bare process, and behind the walls it fails and its neighbour keeps its pace."""

from collections.abc import AsyncIterator

import pytest

from services.runtime.sandbox import Zygote, detect_tier
from tests.attacks import battery, walled
from tests.attacks.attack import Attack
from tests.attacks.catalogue.every import ATTACKS, possible


@pytest.fixture(scope="module")
async def zygote() -> AsyncIterator[Zygote]:
    async with walled.zygote() as running:
        if await detect_tier(running) > "B":
            pytest.skip("the system offers no walls to attack")
        yield running


@pytest.mark.parametrize("attack", [pytest.param(attack, id=attack.name) for attack in possible()])
async def test_an_attack_succeeds_in_a_bare_process_and_fails_behind_the_walls(attack: Attack, zygote: Zygote) -> None:
    outcome = await battery.run(attack, zygote)
    assert outcome.proves_something, "an attack that does not succeed in a bare process proves nothing"
    assert not outcome.walled.through, outcome.walled.ending
    assert outcome.pace.kept, outcome.pace
    if not outcome.bare.through:
        pytest.skip("the system itself refuses it, walls or not")


def test_no_two_attacks_share_a_name() -> None:
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS) >= 45
