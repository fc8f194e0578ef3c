"""How much chaos a run makes: the whole of it, or what continuous integration has time for."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scale:
    """``sales`` flow at ``rate`` per second; each fault strikes ``rounds`` times. All durations are seconds."""

    workers: int
    """One more runs beside these, whose clock can be stepped."""
    sales: int
    rate: float
    rounds: int
    broker_away: float
    redis_away: float
    session_timeout: float
    """After which Kafka gives up a worker that is silent."""
    settle: float
    """How long effects may take to come once all sales were sent and all faults have ended."""
    recovery: float = 60.0
    """How long a fault may keep the platform from processing what is sent after it."""


WHOLE = Scale(
    workers=2,
    sales=20_000,
    rate=60,
    rounds=3,
    broker_away=20,
    redis_away=6,
    session_timeout=10,
    settle=180,
    recovery=120,
)
SMALL = Scale(workers=1, sales=2_000, rate=50, rounds=1, broker_away=3, redis_away=1.5, session_timeout=3, settle=60)
