"""What of OpenTelemetry's own environment variables is read here; the SDK and its exporter read the others themselves.

(https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/)
"""

from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

Sampler = Literal[
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
]


class TracingSettings(BaseSettings):
    """Prefixed ``OTEL_``. A sampler that is misspelled stops the start: it would trace everything otherwise."""

    model_config = SettingsConfigDict(env_prefix="OTEL_", extra="ignore", frozen=True, env_ignore_empty=True)

    sdk_disabled: bool = False
    exporter_otlp_endpoint: str | None = None
    exporter_otlp_traces_endpoint: str | None = None
    exporter_otlp_protocol: Literal["http/protobuf"] = "http/protobuf"
    exporter_otlp_traces_protocol: Literal["http/protobuf"] = "http/protobuf"
    traces_exporter: Literal["otlp", "none"] = "otlp"
    traces_sampler: Sampler = "parentbased_always_on"
    traces_sampler_arg: float = Field(default=1.0, ge=0, le=1)
    """The share of new traces that is recorded, for the two ``traceidratio`` samplers."""
    service_name: str | None = None
    bsp_max_queue_size: int = Field(default=2_048, ge=1)
    """Spans that wait to be exported; more are dropped."""
    bsp_max_export_batch_size: int = Field(default=512, ge=1)

    @model_validator(mode="after")
    def _check_batch(self) -> Self:
        if self.bsp_max_export_batch_size > self.bsp_max_queue_size:
            raise ValueError("OTEL_BSP_MAX_EXPORT_BATCH_SIZE is at most OTEL_BSP_MAX_QUEUE_SIZE")
        return self

    @property
    def wanted(self) -> bool:
        """Whether traces go anywhere."""
        endpoint = self.exporter_otlp_traces_endpoint or self.exporter_otlp_endpoint
        return bool(endpoint) and self.traces_exporter != "none" and not self.sdk_disabled

    @property
    def parent_based(self) -> bool:
        """Whether a span is recorded if its parent is."""
        return self.traces_sampler.startswith("parentbased")

    @property
    def ratio(self) -> float:
        """The share of new traces that is recorded."""
        if self.traces_sampler.endswith("traceidratio"):
            return self.traces_sampler_arg
        return 1.0 if self.traces_sampler.endswith("_on") else 0.0
