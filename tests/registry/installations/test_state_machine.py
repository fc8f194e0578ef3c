import itertools

import pytest

from services.common.errors import Conflict
from services.registry.installations.lifecycle import TRANSITIONS, Move, Status, check_move, legal_moves

ALWAYS = {Move.CONFIGURE, Move.UPDATE, Move.ROLL_BACK}
LEGAL = {
    (Status.INSTALLING, False): {Move.INSTALL},
    (Status.ERROR, False): {Move.INSTALL, Move.UNINSTALL, Move.CONFIGURE},
    (Status.UNINSTALLING, False): {Move.UNINSTALL},
    (Status.INACTIVE, True): {Move.ACTIVATE, Move.UNINSTALL, *ALWAYS},
    (Status.ACTIVE, True): {Move.DEACTIVATE, *ALWAYS},
    (Status.ERROR, True): {Move.ACTIVATE, Move.DEACTIVATE, Move.UNINSTALL, *ALWAYS},
    (Status.UNINSTALLING, True): {Move.UNINSTALL},
}


@pytest.mark.parametrize(("status", "installed", "move"), [*itertools.product(Status, (False, True), Move)])
def test_every_move_is_legal_exactly_where_the_table_says(status: Status, installed: bool, move: Move) -> None:
    legal = LEGAL.get((status, installed), set())
    assert legal_moves(status, installed=installed) == legal
    if move in legal:
        check_move(move, status, installed=installed)
        return
    with pytest.raises(Conflict) as refused:
        check_move(move, status, installed=installed)
    assert refused.value.problem_code == "illegal_transition"
    assert refused.value.members == {"presentStatus": status, "legalMoves": sorted(legal)}
    assert status in refused.value.detail


def test_an_active_installation_is_told_to_be_deactivated_before_it_is_removed() -> None:
    with pytest.raises(Conflict) as refused:
        check_move(Move.UNINSTALL, Status.ACTIVE, installed=True)
    assert refused.value.problem_remedy.startswith("Deactivate it first.")


def test_every_failure_leads_to_error_and_only_uninstall_ends_the_life() -> None:
    assert {transition.failure for transition in TRANSITIONS.values()} == {Status.ERROR}
    assert {move for move, transition in TRANSITIONS.items() if transition.success is None} == {
        Move.UNINSTALL,
        Move.UPDATE,  # which keeps the status
    }
    assert TRANSITIONS.keys() == set(Move) - {Move.CONFIGURE, Move.ROLL_BACK}
