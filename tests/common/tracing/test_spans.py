"""What is recorded, what is not, and what it costs then."""

import asyncio

import pytest
from opentelemetry.trace import INVALID_SPAN, SpanContext, SpanKind

from services.common.tracing import OFF, apart, current, failed, of_headers
from services.common.tracing.spans import Tracing
from tests.support.spans import REMOTE, SAMPLED, TRACE_ID, UNSAMPLED, recording


def test_off_makes_no_span_and_changes_nothing_for_what_runs() -> None:
    assert OFF.samples(REMOTE) is False
    assert OFF.start("hook", SpanKind.INTERNAL, REMOTE, {}) is INVALID_SPAN
    with OFF.span("hook", SpanKind.INTERNAL, REMOTE, {}) as span, OFF.within(REMOTE):
        assert (span, current()) == (INVALID_SPAN, None)


def test_the_quick_decision_is_the_samplers() -> None:
    tracing, spans = recording(traces_sampler="parentbased_traceidratio", traces_sampler_arg=0.3)
    wanted = 0
    for _ in range(2_000):
        if tracing.samples(None):
            wanted += 1
            span = tracing.start("process", SpanKind.CONSUMER, None, {})
            assert span.is_recording()
            span.end()
    assert len(spans.get_finished_spans()) == wanted
    assert 400 < wanted < 800  # 600 expected; six standard deviations are 123
    assert len({span.context.trace_id for span in spans.get_finished_spans() if span.context}) == wanted


@pytest.mark.parametrize(
    ("sampler", "new", "sampled", "unsampled"),
    [
        ("parentbased_always_on", True, True, False),
        ("parentbased_always_off", False, True, False),
        ("always_on", True, True, True),
        ("always_off", False, False, False),
    ],
)
def test_each_sampler_decides_by_the_parent_or_does_not(
    sampler: str, new: bool, sampled: bool, unsampled: bool
) -> None:
    tracing, _ = recording(traces_sampler=sampler)
    for parent, expected in ((None, new), (of_headers({"traceparent": SAMPLED}), sampled), (of(UNSAMPLED), unsampled)):
        assert tracing.samples(parent) is expected
        assert tracing.start("any", SpanKind.INTERNAL, parent, {}).is_recording() is expected


def of(traceparent: str) -> SpanContext | None:
    return of_headers({"traceparent": traceparent})


def test_a_span_is_the_current_one_within_its_block_and_a_part_of_its_parent_only() -> None:
    tracing, spans = recording()
    with tracing.span("another", SpanKind.SERVER, None, {}), tracing.span("own", SpanKind.INTERNAL, REMOTE, {}) as own:
        assert current() == own.get_span_context()
    first, _ = spans.get_finished_spans()
    assert (first.name, first.context.trace_id if first.context else None) == ("own", TRACE_ID)
    assert first.parent == REMOTE
    assert current() is None


def test_what_is_sent_where_nothing_is_recorded_belongs_to_an_unsampled_trace_of_its_own() -> None:
    tracing, spans = recording()
    seen = []
    for _ in range(2):
        with tracing.within(None):
            context = current()
            assert context is not None
            assert context.trace_flags.sampled is False
            seen.append(context.trace_id)
    assert seen[0] != seen[1]
    with tracing.within(REMOTE):
        assert current() == REMOTE
    assert spans.get_finished_spans() == ()


async def test_a_task_that_outlives_what_began_it_is_no_part_of_it() -> None:
    tracing, _ = recording()

    async def later() -> SpanContext | None:
        return current()

    with tracing.span("request", SpanKind.SERVER, None, {}) as span:
        assert await asyncio.create_task(later()) == span.get_span_context()
        assert await asyncio.create_task(later(), context=apart()) is None
        assert current() == span.get_span_context()


def test_an_error_is_told_by_its_kind_and_never_by_what_it_says() -> None:
    tracing, spans = recording()
    with pytest.raises(ValueError, match="Ada"), tracing.span("call", SpanKind.INTERNAL, None, {}):
        raise ValueError("Ada Lovelace, 4711")
    failed(by_code := tracing.start("hook", SpanKind.INTERNAL, None, {}), "plugin_raised")
    by_code.end()
    told = [span.to_json() for span in spans.get_finished_spans()]
    assert [span.attributes["error.type"] for span in spans.get_finished_spans() if span.attributes] == [
        "ValueError",
        "plugin_raised",
    ]
    assert not any("Ada" in text or span.events for text, span in zip(told, spans.get_finished_spans(), strict=True))


def test_attributes_are_cut_to_a_length() -> None:
    tracing, spans = recording()
    tracing.start("any", SpanKind.INTERNAL, None, {"cloudevents.event_id": "x" * 10_000}).end()
    (span,) = spans.get_finished_spans()
    assert span.attributes is not None
    assert span.attributes["cloudevents.event_id"] == "x" * 256


def test_tracing_without_a_provider_is_off() -> None:
    assert (Tracing().on, OFF.on, recording()[0].on) == (False, False, True)
