"""What strikes when."""

from tests.chaos.plan import draw

FAULTS = ("first", "second", "third")


def test_seed_repeats_the_plan() -> None:
    assert draw(FAULTS, sales=1_000, rounds=4, seed=7) == draw(FAULTS, sales=1_000, rounds=4, seed=7)


def test_other_seed_is_another_plan() -> None:
    assert draw(FAULTS, sales=1_000, rounds=4, seed=7) != draw(FAULTS, sales=1_000, rounds=4, seed=8)


def test_every_fault_strikes_once_a_round_within_its_stage() -> None:
    plan = draw(FAULTS, sales=1_000, rounds=4, seed=7)
    rounds = [plan.injections[start : start + len(FAULTS)] for start in range(0, len(plan.injections), len(FAULTS))]
    assert len(rounds) == 4
    assert all({injection.fault for injection in each} == set(FAULTS) for each in rounds)
    assert all(0 < injection.after < plan.stage for injection in plan.injections)
    assert plan.stage * (len(plan.injections) + 1) <= 1_000
