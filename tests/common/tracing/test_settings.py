import pytest
from pydantic import ValidationError

from services.common.tracing import TracingSettings


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_traces_are_made_when_there_is_somewhere_to_send_them(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], wanted: bool
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert TracingSettings().wanted is wanted


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OTEL_TRACES_SAMPLER", "parentbased_traceidratoi"),
        ("OTEL_TRACES_SAMPLER_ARG", "110"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "100"),  # below the size of a batch
    ],
)
def test_a_setting_that_cannot_be_followed_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ValidationError):
        TracingSettings()


def test_the_samplers_argument_counts_for_ratios_only() -> None:
    assert TracingSettings(traces_sampler="traceidratio", traces_sampler_arg=0.25).ratio == 0.25
    assert TracingSettings(traces_sampler="always_on", traces_sampler_arg=0.25).ratio == 1.0
    assert TracingSettings(traces_sampler="parentbased_always_off").ratio == 0.0
