"""The life of an installation as a state machine: which moves are legal, what runs, and where they lead.

    (none) --install--> installing --> inactive | error
    error, never installed --install--> installing --> inactive | error
    inactive | error --activate--> active | error
    active | error --deactivate--> inactive | error
    inactive | error | uninstalling --uninstall--> uninstalling --> (none) | error
    inactive | active | error --update--> the same, in another version
    active --breaker opens--> error --breaker closes--> active

The last line is decided by insights, not by a caller, and runs no hook: see
:mod:`services.registry.installations.breaker`.

A state is the status and whether onInstall ever succeeded. An `installing` or `uninstalling` that is met without a
running operation was left by a crash, and the move that led there can be made again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from services.common.errors import Conflict
from services.common.runtime_client import LifecycleHook


class Status(StrEnum):
    """What the list of installations shows."""

    INSTALLING = "installing"
    INACTIVE = "inactive"
    ACTIVE = "active"
    ERROR = "error"
    UNINSTALLING = "uninstalling"


class Move(StrEnum):
    """What an owner or admin can do with an installation."""

    INSTALL = "install"
    ACTIVATE = "activate"
    DEACTIVATE = "deactivate"
    UNINSTALL = "uninstall"
    CONFIGURE = "configure"
    UPDATE = "update"
    ROLL_BACK = "roll back"


@dataclass(frozen=True, slots=True)
class Transition:
    """How a move that runs a lifecycle hook goes. ``during`` None keeps the status; ``success`` None is the end.

    An update keeps the status whatever comes of it.
    """

    hook: LifecycleHook
    during: Status | None
    success: Status | None
    failure: Status = Status.ERROR


TRANSITIONS: Mapping[Move, Transition] = {
    Move.INSTALL: Transition(LifecycleHook.ON_INSTALL, Status.INSTALLING, Status.INACTIVE),
    Move.ACTIVATE: Transition(LifecycleHook.ON_ACTIVATE, None, Status.ACTIVE),
    Move.DEACTIVATE: Transition(LifecycleHook.ON_DEACTIVATE, None, Status.INACTIVE),
    Move.UNINSTALL: Transition(LifecycleHook.ON_UNINSTALL, Status.UNINSTALLING, None),
    Move.UPDATE: Transition(LifecycleHook.ON_UPDATE, None, None),
}

_ALWAYS = frozenset({Move.CONFIGURE, Move.UPDATE, Move.ROLL_BACK})
_INSTALLED: Mapping[Status, frozenset[Move]] = {
    Status.INACTIVE: _ALWAYS | {Move.ACTIVATE, Move.UNINSTALL},
    Status.ACTIVE: _ALWAYS | {Move.DEACTIVATE},
    Status.ERROR: _ALWAYS | {Move.ACTIVATE, Move.DEACTIVATE, Move.UNINSTALL},
    Status.UNINSTALLING: frozenset({Move.UNINSTALL}),
}
_NEVER_INSTALLED: Mapping[Status, frozenset[Move]] = {
    Status.INSTALLING: frozenset({Move.INSTALL}),
    Status.ERROR: frozenset({Move.INSTALL, Move.UNINSTALL, Move.CONFIGURE}),
    Status.UNINSTALLING: frozenset({Move.UNINSTALL}),
}


def legal_moves(status: Status, *, installed: bool) -> frozenset[Move]:
    """The moves that an existing installation allows; ``installed`` says whether onInstall ever succeeded."""
    return (_INSTALLED if installed else _NEVER_INSTALLED).get(status, frozenset())


def check_move(move: Move, status: Status, *, installed: bool) -> None:
    """Raises Conflict (``illegal_transition``), which says the present status and the legal moves."""
    legal = legal_moves(status, installed=installed)
    if move in legal:
        return
    remedy = f"Legal now: {', '.join(sorted(legal)) or 'nothing'}."
    if move is Move.UNINSTALL and status is Status.ACTIVE:
        remedy = f"Deactivate it first. {remedy}"
    raise Conflict(
        f"An installation in status {status.value!r} cannot {move.value}.",
        code="illegal_transition",
        remedy=remedy,
        presentStatus=status.value,
        legalMoves=sorted(legal),
    )
