"""All kinds of faults."""

from tests.chaos.faults.fault import Fault
from tests.chaos.faults.parts import BrokerStopped, DatabaseRestarted, RedisFlushed, RedisStopped
from tests.chaos.faults.processes import (
    GatewayKilled,
    GuestKilled,
    RegistryKilled,
    WorkerFrozen,
    WorkerKilled,
    WorkersRestarted,
    ZygoteKilled,
)
from tests.chaos.faults.surroundings import ClockStepped, DeliveriesScrambled, LogDiskFull

KINDS: tuple[type[Fault], ...] = (
    WorkerKilled,
    WorkersRestarted,
    ZygoteKilled,
    GuestKilled,
    RegistryKilled,
    GatewayKilled,
    WorkerFrozen,
    BrokerStopped,
    DatabaseRestarted,
    RedisFlushed,
    RedisStopped,
    DeliveriesScrambled,
    ClockStepped,
    LogDiskFull,
)
