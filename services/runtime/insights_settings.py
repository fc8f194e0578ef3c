"""What the insights process reads from the environment."""

from pydantic import Field

from services.common.insights import A_MONTH
from services.common.settings import ServiceSettings
from services.runtime.breaker.decision import Policy


class InsightsSettings(ServiceSettings):
    """The ``breaker_`` settings are those of :class:`services.runtime.breaker.decision.Policy`."""

    insights_port: int = 8084
    breaker_minimum_runs: int = Field(default=20, ge=1)
    breaker_error_rate: float = Field(default=0.5, gt=0, le=1)
    breaker_open_seconds: float = Field(default=30.0, gt=0, le=A_MONTH)
    breaker_probes: int = Field(default=5, ge=1, le=1_000_000)
    statistics_seconds: float = Field(default=5.0, ge=1)
    """How often the statistics of an installation are told."""

    @property
    def policy(self) -> Policy:
        return Policy(
            minimum_runs=self.breaker_minimum_runs,
            error_rate=self.breaker_error_rate,
            open_seconds=self.breaker_open_seconds,
            probes=self.breaker_probes,
        )
