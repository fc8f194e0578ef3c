"""Whether the events of an installation run, now that it is in this state."""

from enum import Enum

from services.common.directory import Installation


class Admission(Enum):
    """What becomes of an installation's events.

    ``RUN``: they run. ``PROBE``: a few at a time do, by the ledger, to see whether the plugin works again. ``HOLD``:
    they wait in the ledger. ``DROP``: new ones are not for it; what waits in the ledger stays there.
    """

    RUN = "run"
    PROBE = "probe"
    HOLD = "hold"
    DROP = "drop"


def admission(installation: Installation | None) -> Admission:
    """Decide by the installation's status, its circuit breaker, and what was asked when it was deactivated.

    What would run waits while it is updated, and runs in the version that it has then.
    """
    if installation is None:
        return Admission.DROP
    admitted = _admission(installation)
    return Admission.HOLD if installation.updating and admitted in (Admission.RUN, Admission.PROBE) else admitted


def _admission(installation: Installation) -> Admission:
    if installation.status == "active":
        return Admission.RUN
    if installation.status == "error" and installation.breaker.state != "closed":
        return Admission.PROBE if installation.breaker.state == "half_open" else Admission.HOLD
    if installation.status in ("inactive", "error"):
        return {"pause": Admission.HOLD, "drain": Admission.RUN}.get(installation.backlog, Admission.DROP)
    return Admission.DROP
