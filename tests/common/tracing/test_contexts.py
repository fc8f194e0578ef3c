"""Trace contexts in headers, records and rows; what is malformed is none at all."""

import pytest

from services.common.tracing import headers_of, of_headers, of_record, of_text, text_of
from services.common.tracing.contexts import says_unsampled
from tests.support.spans import REMOTE, SAMPLED, TRACE_ID, UNSAMPLED

MALFORMED = (
    "",
    "rubbish",
    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
    "00-00000000000000000000000000000000-b7ad6b7169203331-01",
    "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
    "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    SAMPLED.upper(),
    SAMPLED + "-and more",
    "é" + SAMPLED,
    SAMPLED + "-" + "x" * 1_000,
)


@pytest.mark.parametrize("given", MALFORMED)
def test_malformed_contexts_are_none(given: str) -> None:
    assert of_headers({"traceparent": given}) is None
    assert of_record([("traceparent", given.encode())]) is None
    assert of_text(given) is None
    assert says_unsampled([("traceparent", given[:-1].encode() + b"0")]) is False


def test_a_context_is_the_same_after_every_way_across() -> None:
    found = of_headers({"traceparent": SAMPLED, "tracestate": "vendor=a b,other=1"})
    assert found is not None
    assert (found.trace_id, found.trace_flags.sampled) == (TRACE_ID, True)
    assert headers_of(found) == {"traceparent": SAMPLED, "tracestate": "vendor=a b,other=1"}
    assert of_text(text_of(found)) == found
    assert of_record([(name, value.encode()) for name, value in headers_of(found).items()]) == found
    assert of_text(text_of(REMOTE)) == REMOTE
    assert (headers_of(None), text_of(None), of_text(None)) == ({}, None, None)


def test_that_a_trace_is_not_recorded_is_seen_at_once() -> None:
    assert says_unsampled([("ce_id", b"1"), ("traceparent", UNSAMPLED.encode())])
    assert says_unsampled([("traceparent", UNSAMPLED[:-1].encode() + b"2")])  # a further flag, of W3C's level 2
    assert not says_unsampled([("traceparent", SAMPLED.encode())])
    assert not says_unsampled([("ce_id", b"1"), ("ce_traceparent", UNSAMPLED.encode())])


def test_a_tracestate_that_is_too_long_is_left_behind() -> None:
    found = of_headers({"traceparent": SAMPLED, "tracestate": "v=" + "x" * 600})
    assert found is not None
    assert headers_of(found) == {"traceparent": SAMPLED}


def test_who_sent_a_record_counts_before_what_its_event_says_of_itself() -> None:
    own = ("ce_traceparent", UNSAMPLED.encode())
    by_event = of_record([("ce_id", b"1"), own])
    by_sender = of_record([own, ("traceparent", SAMPLED.encode())])
    malformed = of_record([own, ("traceparent", b"\xff\xfe")])
    assert by_event is not None
    assert by_sender is not None
    assert (by_event.trace_flags.sampled, by_sender.trace_flags.sampled) == (False, True)
    assert malformed == by_event
    assert of_record([("ce_id", b"1")]) is None
