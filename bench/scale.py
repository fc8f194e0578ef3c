"""How much is measured: the whole of it, or what there is time for in between."""

from dataclasses import dataclass

from bench.contenders.task import WorkloadName


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """``rounds`` of each comparison, in which all contenders have their turn; ``seconds`` of events at a steady rate.

    The numbers of events are those of one burst, ``idle_counts`` are installations, the fewest first,
    ``worker_counts`` workers beginning with one.
    """

    rounds: int
    no_op_events: int
    loyalty_events: int
    seconds: float
    idle_counts: tuple[int, ...]
    neighbour_rounds: int
    neighbour_seconds: float
    worker_rounds: int
    worker_counts: tuple[int, ...]
    worker_workloads: tuple[WorkloadName, ...]
    guests: int
    guest_rounds: int
    api_calls: int
    wall_rounds: int
    wall_events: int


WHOLE = Scale(
    rounds=3,
    no_op_events=60_000,
    loyalty_events=2_000,
    seconds=4,
    idle_counts=(10, 1_000, 10_000),
    neighbour_rounds=4,
    neighbour_seconds=10,
    worker_rounds=3,
    worker_counts=(1, 2, 3),
    worker_workloads=("no-op", "loyalty"),
    guests=40,
    guest_rounds=7,
    api_calls=5_000,
    wall_rounds=12,
    wall_events=6_400,
)
SMALL = Scale(
    rounds=1,
    no_op_events=15_000,
    loyalty_events=300,
    seconds=1,
    idle_counts=(10, 10_000),
    neighbour_rounds=1,
    neighbour_seconds=3,
    worker_rounds=1,
    worker_counts=(1, 2),
    worker_workloads=("no-op",),
    guests=8,
    guest_rounds=3,
    api_calls=1_000,
    wall_rounds=6,
    wall_events=3_200,
)
