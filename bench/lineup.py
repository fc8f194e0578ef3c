"""Who is compared."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Kind:
    """One contender. ``concurrency``: events that a peer handles at once."""

    name: str
    module: str
    home: Literal["outlet", "peer"] = "peer"
    concurrency: int = 1


OUTLET = Kind("Outlet", "bench.contenders.outlet_worker", home="outlet")
RAW = Kind("raw aiokafka loop", "bench.contenders.raw_loop")
FAUST = Kind("Faust agent", "bench.contenders.faust_agent")
FAUST_8 = Kind("Faust agent, 8 at once", "bench.contenders.faust_agent", concurrency=8)
FASTSTREAM = Kind("FastStream subscriber", "bench.contenders.faststream_subscriber")
FASTSTREAM_8 = Kind("FastStream subscriber, 8 at once", "bench.contenders.faststream_subscriber", concurrency=8)
