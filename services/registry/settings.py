"""What the registry reads from the environment."""

from pydantic import Field

from services.common.settings import IdentitySettings, SecretKeySettings, ServiceSettings


class RegistrySettings(ServiceSettings, IdentitySettings, SecretKeySettings):
    """``kafka_partitions`` and ``kafka_replication`` are for topics that the registry creates."""

    registry_database_url: str
    redis_url: str
    registry_port: int = 8081
    kafka_create_topics: bool = True
    kafka_partitions: int = 12
    kafka_replication: int = 1
    lifecycle_deadline: float = 30.0
    """Seconds that a worker gives one lifecycle hook."""
    update_turn_seconds: float = Field(default=5.0, gt=0)
    """Between two looks at what is to be updated by itself, or is in a roll-out."""
    database_connections: int = 10
