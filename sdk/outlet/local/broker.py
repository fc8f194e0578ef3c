"""The Kafka-protocol broker inside librdkafka, for development and tests.

It lives in this process and in memory: records are gone when it stops, about 5 MB per partition are kept, topics come
into being on first use with 4 partitions and are never compacted, and consumer groups take one aiokafka member, hence
one runtime worker. Producers, consumers, commits, idempotence and transactions behave as with a real Kafka.
"""

import asyncio
from importlib.util import find_spec
from typing import TYPE_CHECKING

from outlet.local.errors import PlatformError

if TYPE_CHECKING:
    from confluent_kafka import Producer

START_TIMEOUT = 10.0
NOTICE = "the embedded broker is for development: in memory, one runtime worker"


class Broker:
    """One in-memory broker on a loopback port of its own."""

    name = "broker"

    def __init__(self) -> None:
        self._cluster: Producer | None = None
        self._bootstrap = ""

    @property
    def running(self) -> bool:
        return self._cluster is not None

    @property
    def bootstrap(self) -> str:
        """``host:port`` that clients connect to first."""
        return self._bootstrap

    async def start(self) -> None:
        """Start the broker's threads and learn its port."""
        if find_spec("confluent_kafka") is None:
            raise PlatformError("the embedded broker is not installed", 'Run: pip install "outlet[local]"')
        self._cluster, self._bootstrap = await asyncio.to_thread(_start)

    async def stop(self) -> None:
        """End the broker; its records are gone."""
        cluster, self._cluster = self._cluster, None
        if cluster is not None:
            await asyncio.to_thread(cluster.close)


def _start() -> tuple["Producer", str]:
    from confluent_kafka import Producer  # loads librdkafka, which only those who start a broker should pay for

    cluster = Producer({"test.mock.num.brokers": 1, "log_level": 3})
    broker = next(iter(cluster.list_topics(timeout=START_TIMEOUT).brokers.values()))
    return cluster, f"{broker.host}:{broker.port}"
