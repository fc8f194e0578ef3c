"""Real Apache Kafka, PostgreSQL and Redis as child processes on loopback ports, without Docker.

For tests, and for trying Outlet against what production runs. The programs come from the distribution's packages,
Kafka's jars from Maven Central (fetched once into ``deploy/local/.parts``).
"""

from deploy.local.kafka import Kafka
from deploy.local.part import Part
from deploy.local.postgres import Postgres
from deploy.local.redis import Redis

__all__ = ["Kafka", "Part", "Postgres", "Redis"]
