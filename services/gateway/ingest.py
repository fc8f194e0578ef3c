"""``POST /api/events``: events of a POS that does not speak Kafka itself. Acknowledged once the broker has them."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse
from opentelemetry.trace import Span, SpanContext

from services.common.auth import USES, Caller, require
from services.common.errors import OutletError, Unavailable
from services.common.tracing import OFF, Tracing, current, failed, headers_of, of_headers, of_record
from services.common.tracing.messaging import sending
from services.common.wire import BEARER, problems
from services.gateway.admission import Record, admit
from services.gateway.bodies import read_body
from services.gateway.envelope import (
    BATCH,
    STRUCTURED,
    Envelope,
    UnsupportedMediaType,
    media_type,
    read_batch,
    read_binary,
    read_structured,
)

PUBLISH_SECONDS = 10.0

log = structlog.get_logger(__name__)
router = APIRouter(tags=["events"], dependencies=[BEARER])


class Publisher:
    """Hands records to the broker and waits until all of its replicas have them.

    A record belongs to the trace of the request; or, when that began with the request (``own_trace``), to the trace
    that its event says it belongs to (CloudEvents' distributed tracing extension), with a link to the request.
    """

    def __init__(
        self, producer: AIOKafkaProducer, tracing: Tracing = OFF, *, deadline: float = PUBLISH_SECONDS
    ) -> None:
        self._producer = producer
        self._tracing = tracing
        self._deadline = deadline

    async def publish(self, records: Sequence[Record], *, own_trace: bool = True) -> None:
        """Raises Unavailable (``broker_unavailable``) after ``deadline`` seconds at the latest."""
        try:
            async with asyncio.timeout(self._deadline):
                await asyncio.gather(*[await self._send(record, own_trace=own_trace) for record in records])
        except (KafkaError, TimeoutError) as error:
            log.warning("events not acknowledged by the broker", events=len(records), error=repr(error))
            raise Unavailable(
                "The broker did not acknowledge the events.",
                code="broker_unavailable",
                remedy="Send the same events again with the same ids: an event that did arrive has its effect once.",
            ) from error

    async def _send(self, record: Record, *, own_trace: bool) -> "asyncio.Future[object]":
        if not self._tracing.on:
            return await self._hand_over(record)
        request, event = current(), of_record(record.headers)
        links: list[SpanContext] = []
        if request is not None and event is not None and own_trace and event.trace_id != request.trace_id:
            request, links = event, [request]
        span = sending(self._tracing, record.topic, record.headers, request, links)
        context = headers_of(span.get_span_context())
        record = replace(record, headers=[*record.headers, *((name, context[name].encode()) for name in context)])
        try:
            sent = await self._hand_over(record)
        except BaseException as error:
            failed(span, error)
            span.end()
            raise
        sent.add_done_callback(partial(_sent, span))
        return sent

    async def _hand_over(self, record: Record) -> "asyncio.Future[object]":
        sent: asyncio.Future[object] = await self._producer.send(
            record.topic, value=record.value, key=record.key, headers=record.headers
        )
        return sent


def _sent(span: Span, sent: "asyncio.Future[object]") -> None:
    error = asyncio.CancelledError() if sent.cancelled() else sent.exception()
    if error is not None:
        failed(span, error)
    span.end()


_EVENT = {"type": "object", "description": "A CloudEvent 1.0 in JSON, with organization and store."}
_ACCEPTED = {
    "description": "The broker has all of them.",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "properties": {"id": {"type": "string"}, "ids": {"type": "array", "items": {"type": "string"}}},
                "description": "`id` of one event, `ids` of a batch.",
            }
        }
    },
}
_BODY = {
    "required": True,
    "content": {
        STRUCTURED: {"schema": _EVENT},
        BATCH: {"schema": {"type": "array", "items": _EVENT}},
        "application/json": {"schema": {"type": "object", "description": "The data alone: the rest is `ce-` headers."}},
    },
}


@router.post(
    "/api/events",
    status_code=202,
    responses={202: _ACCEPTED, **problems(400, 401, 403, 413, 415, 422, 503)},
    openapi_extra={"requestBody": _BODY},
)
async def ingest(request: Request, caller: Annotated[Caller, Depends(require(USES))]) -> JSONResponse:
    """Take one CloudEvent (structured or binary) or a batch; all of a batch or nothing."""
    publisher: Publisher = request.app.state.publisher
    own_trace = of_headers(request.headers) is None
    kind = media_type(request.headers.get("Content-Type", ""))
    body = await read_body(request)
    if kind == BATCH:
        records = _admit_all(read_batch(body), caller)
        await publisher.publish(records, own_trace=own_trace)
        return JSONResponse({"ids": [record.event_id for record in records]}, status_code=202)
    record = admit(_read_one(kind, request, body), caller)
    await publisher.publish([record], own_trace=own_trace)
    return JSONResponse({"id": record.event_id}, status_code=202)


def _read_one(kind: str, request: Request, body: bytes) -> Envelope:
    if kind == STRUCTURED:
        return read_structured(body)
    if kind.startswith("application/cloudevents"):
        raise UnsupportedMediaType(f"Events in the format {kind!r} cannot be read.")
    return read_binary(request.headers.items(), body)


def _admit_all(events: Sequence[bytes], caller: Caller) -> list[Record]:
    """Every event or none: the first failure is raised, and tells of the others."""
    records: list[Record] = []
    failures: list[tuple[int, OutletError]] = []
    for index, event in enumerate(events):
        try:
            records.append(admit(read_structured(event), caller))
        except OutletError as error:
            failures.append((index, error))
    if failures:
        first = failures[0][1]
        first.members["errors"] = [
            {"index": index, "code": error.problem_code, "detail": error.detail, **error.members}
            for index, error in failures
        ]
        first.detail = f"Event {failures[0][0]} of the batch: {first.detail}"
        raise first
    return records
