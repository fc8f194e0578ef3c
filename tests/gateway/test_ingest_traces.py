"""Which trace a record belongs to: the request's, or the one that its event says."""

import asyncio
from typing import Any

import pytest
from aiokafka.errors import KafkaTimeoutError
from opentelemetry.trace import SpanKind

from services.common.errors import Unavailable
from services.common.tracing import OFF, of_record
from services.gateway.admission import Record
from services.gateway.ingest import Publisher
from tests.support.spans import REMOTE, SAMPLED, TRACE_ID, recording


class Broker:
    """A producer whose broker acknowledges at once, or fails."""

    def __init__(self, error: Exception | None = None) -> None:
        self.headers: list[list[tuple[str, bytes]]] = []
        self._error = error

    async def send(self, _: str, *, headers: list[tuple[str, bytes]], **__: Any) -> "asyncio.Future[object]":
        self.headers.append(headers)
        sent: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        if self._error:
            sent.set_exception(self._error)
        else:
            sent.set_result(None)
        return sent


def record(**headers: str) -> Record:
    more = [(name, value.encode()) for name, value in headers.items()]
    about = [("ce_id", b"e-1"), ("ce_type", b"sale.created"), *more]
    return Record("e-1", "outlet.events.sale", b"acme/s-1/c-4711", b"{}", about)


async def test_a_record_belongs_to_the_trace_of_its_request() -> None:
    tracing, spans = recording()
    broker: Any = Broker()
    with tracing.span("POST", SpanKind.SERVER, REMOTE, {}) as request:
        await Publisher(broker, tracing).publish([record(ce_traceparent="rubbish")], own_trace=False)
    sent, _ = spans.get_finished_spans()
    assert (sent.name, sent.parent) == ("send outlet.events.sale", request.get_span_context())
    carried = of_record(broker.headers[0])
    assert carried is not None
    assert sent.context is not None
    assert (carried.trace_id, carried.span_id) == (TRACE_ID, sent.context.span_id)
    assert "4711" not in sent.to_json()


async def test_events_of_a_batch_go_on_with_their_own_traces_and_are_linked_to_the_request() -> None:
    tracing, spans = recording()
    broker: Any = Broker()
    with tracing.span("POST", SpanKind.SERVER, None, {}) as request:
        await Publisher(broker, tracing).publish([record(ce_traceparent=SAMPLED), record()])
    own, plain, _ = spans.get_finished_spans()
    assert own.parent == REMOTE
    assert [link.context for link in own.links] == [request.get_span_context()]
    assert (plain.parent, list(plain.links)) == (request.get_span_context(), [])
    found = of_record(broker.headers[0])
    assert found is not None
    assert found.trace_id == TRACE_ID


async def test_a_request_with_a_trace_of_its_own_keeps_its_events() -> None:
    tracing, spans = recording()
    broker: Any = Broker()
    other = SAMPLED.replace("0af7", "1af7")
    with tracing.span("POST", SpanKind.SERVER, REMOTE, {}) as request:
        await Publisher(broker, tracing).publish([record(ce_traceparent=other)], own_trace=False)
    sent, _ = spans.get_finished_spans()
    assert sent.parent == request.get_span_context()


async def test_what_the_broker_does_not_take_is_an_error() -> None:
    tracing, spans = recording()
    broker: Any = Broker(KafkaTimeoutError())
    with pytest.raises(Unavailable), tracing.span("POST", SpanKind.SERVER, None, {}):
        await Publisher(broker, tracing).publish([record()])
    assert {span.name: span.attributes and span.attributes["error.type"] for span in spans.get_finished_spans()} == {
        "send outlet.events.sale": "KafkaTimeoutError",
        "POST": "unavailable",
    }


async def test_without_tracing_a_record_is_sent_as_it_is() -> None:
    broker: Any = Broker()
    await Publisher(broker, OFF).publish([record(ce_traceparent=SAMPLED)])
    assert broker.headers == [record(ce_traceparent=SAMPLED).headers]
