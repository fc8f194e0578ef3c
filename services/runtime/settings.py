"""What a worker reads from the environment."""

import os
import socket
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Self

from pydantic import Field, FilePath, field_validator, model_validator

from outlet._frames import Tier
from services.common.settings import SecretKeySettings, ServiceSettings
from services.runtime.delivery.failures import RetryPolicy
from services.runtime.delivery.ledger_retention import LedgerRetention
from services.runtime.outbound.guard import openable


class RuntimeSettings(ServiceSettings, SecretKeySettings):
    """Deadlines are seconds of wall time for one call of a plugin."""

    runtime_database_url: str
    redis_url: str
    registry_url: str
    runtime_port: int = 8082
    runtime_metrics_port: int = 8092
    """HTTP, for /metrics and /health; gRPC has the other port."""
    runtime_address: str | None = None
    """The gRPC address announced to callers; without it, host and port."""
    worker_id: str = Field(default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}")
    worker_instance: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._-]{1,200}$")
    """A name that a worker has again when it is restarted, and no other has: for as long as the session timeout, Kafka
    keeps its partitions for it (KIP-345). Without one they go to the others at once."""
    zygote_socket: Path | None = None
    """A zygote that runs already (a sidecar); without it the worker starts its own."""
    hook_deadline: float = 5.0
    route_deadline: float = 10.0
    lifecycle_deadline: float = 30.0
    job_deadline: float = 60.0
    hook_attempts: int = Field(default=8, ge=1)
    """How often a hook is tried before its event becomes a dead letter; a hook may ask for less."""
    hook_first_pause: float = Field(default=10.0, gt=0)
    """Seconds up to which the pause after a hook's first failure may last; it doubles with each further one."""
    hook_longest_pause: float = Field(default=3_600.0, gt=0)
    dead_letter_days: float = Field(default=30.0, gt=0)
    """How long dead letters are kept, discarded or not."""
    succeeded_retry_days: float = Field(default=7.0, gt=0)
    """How long is kept that a hook succeeded only when it was tried again."""
    guest_concurrency: int = 8
    """Calls in flight in one sandbox."""
    sandbox_minimum: Tier | None = None
    """The weakest walls that plugins may run behind; without it B in production, D in development."""
    sandbox_memory_mib: int = Field(default=512, ge=1)
    """This and the following: the most that a plugin's manifest can ask for."""
    sandbox_cpu_seconds: float = Field(default=30.0, gt=0)
    sandbox_bytes_per_second: int = Field(default=64 * 1024 * 1024, ge=1)
    sandbox_log_lines_per_second: int = Field(default=1_000, ge=1)
    api_calls_burst: int = Field(default=10_000, ge=1)
    """API calls that one installation may make at once."""
    api_calls_per_minute: int = Field(default=600_000, ge=1)
    """API calls of one installation in the long run, over all workers."""
    database_connections: int = 24
    records_in_flight: int = 2_000
    """Records taken from Kafka and not finished yet; more are not fetched."""
    session_timeout: float = Field(default=10.0, ge=1.0)
    """Seconds without a sign of life after which Kafka gives a worker's partitions to the others."""
    fetches_per_minute: int = Field(default=600, ge=1)
    """Requests that one installation may send through one worker."""
    outbound_denied: str = ""
    """Networks (CIDR, separated by commas) that plugins must not reach, beside those that are not public."""
    retention_days: int = Field(default=30, ge=1)
    """How long data stays that was kept or exported at uninstall."""
    outbound_allowed: str = ""
    """Private networks (likewise) that plugins may reach although they are not public."""
    outbound_ca_file: FilePath | None = None
    """Certificates (PEM) of authorities that are believed beside the public ones, such as a private network's own."""
    trace_fetches: bool = False
    """Whether receivers of what plugins fetch are told the trace that the request is part of."""
    drain_seconds: float = 10.0
    """How long a stop, or partitions that move away, wait for calls that run."""

    @field_validator("outbound_denied")
    @classmethod
    def _check_networks(cls, value: str) -> str:
        _networks(value)
        return value

    @model_validator(mode="after")
    def _check_allowed(self) -> Self:
        for network in self.allowed_networks:
            if not openable(network):
                raise ValueError(
                    f"OUTLET_OUTBOUND_ALLOWED opens private networks only, and {network} is not within one"
                )
            if network.is_loopback and self.environment == "production":
                raise ValueError(f"OUTLET_OUTBOUND_ALLOWED: in production plugins never reach this machine ({network})")
        return self

    @property
    def denied_networks(self) -> list[IPv4Network | IPv6Network]:
        return _networks(self.outbound_denied)

    @property
    def longest_call(self) -> float:
        """Seconds that a call of a plugin can take, of whichever kind."""
        return max(self.hook_deadline, self.route_deadline, self.lifecycle_deadline, self.job_deadline)

    @property
    def retry_policy(self) -> RetryPolicy:
        return RetryPolicy(self.hook_attempts, self.hook_first_pause, self.hook_longest_pause)

    @property
    def allowed_networks(self) -> list[IPv4Network | IPv6Network]:
        return _networks(self.outbound_allowed)

    @property
    def ledger_retention(self) -> LedgerRetention:
        return LedgerRetention(timedelta(days=self.succeeded_retry_days), timedelta(days=self.dead_letter_days))

    @property
    def required_tier(self) -> Tier:
        return self.sandbox_minimum or ("B" if self.environment == "production" else "D")

    @property
    def address(self) -> str:
        return self.runtime_address or f"{self.host}:{self.runtime_port}"


def _networks(value: str) -> list[IPv4Network | IPv6Network]:
    return [ip_network(part.strip()) for part in value.split(",") if part.strip()]
