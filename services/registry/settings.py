"""What the registry reads from the environment."""

from typing import Literal

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
    database_connections: int = 10
    package_storage: str = "database"
    """``database``, or the URL of a folder for fsspec: ``file:///var/lib/outlet/packages``, ``s3://bucket/packages``."""
    review: Literal["required", "automatic"] = "required"
    """Whether a version that passed the automatic checks waits for a reviewer before everyone can install it."""
    operator_organization: str | None = None
    """Whose reviewers decide on plugins; None: whoever has a token with that role."""
