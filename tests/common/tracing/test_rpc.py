"""A call from one service to another is one trace, at both ends."""

from typing import Any

import grpc
import grpc.aio
import pytest
from opentelemetry.trace import SpanKind

from proto import runtime_pb2 as pb
from proto.runtime_pb2_grpc import DeadLettersServicer, DeadLettersStub, add_DeadLettersServicer_to_server
from services.common.tracing import current
from services.common.tracing.rpc import ClientSpans, ServerSpans
from tests.support.spans import recording

METHOD = "outlet.runtime.v1.DeadLetters/GetReplay"


class Letters(DeadLettersServicer):
    """Answers, or refuses; ``traced`` are the spans that it worked within."""

    def __init__(self) -> None:
        self.traced: list[Any] = []

    async def GetReplay(self, request: pb.GetReplayRequest, context: Any) -> pb.GetReplayResponse:  # noqa: N802
        self.traced.append(current())
        if request.replay_id == "unheard-of":
            await context.abort(grpc.StatusCode.NOT_FOUND, "none")
        if request.replay_id == "broken":
            raise ValueError("the customer's name")
        return pb.GetReplayResponse(total=3)


@pytest.mark.parametrize(
    ("replay", "code", "server_failed"),
    [("known", "OK", False), ("unheard-of", "NOT_FOUND", False), ("broken", "UNKNOWN", True)],
)
async def test_a_call_is_a_span_of_the_caller_and_a_span_of_the_server_within_it(
    replay: str, code: str, server_failed: bool
) -> None:
    tracing, spans = recording()
    letters = Letters()  # type: ignore[abstract]
    server = grpc.aio.server(interceptors=[ServerSpans(tracing)])
    add_DeadLettersServicer_to_server(letters, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", interceptors=[ClientSpans(tracing)]) as channel:
            with tracing.span("request", SpanKind.SERVER, None, {}) as request:
                call = DeadLettersStub(channel).GetReplay(pb.GetReplayRequest(replay_id=replay), timeout=5)
                assert (await call.code()).name == code
    finally:
        await server.stop(None)
    by_kind = {span.kind: span for span in spans.get_finished_spans() if span.name == METHOD}
    called, served = by_kind[SpanKind.CLIENT], by_kind[SpanKind.SERVER]
    assert called.parent == request.get_span_context()
    assert called.context is not None
    assert served.parent is not None
    assert (served.parent.trace_id, served.parent.span_id) == (called.context.trace_id, called.context.span_id)
    assert letters.traced == [served.context]
    for span, is_error in ((called, code != "OK"), (served, server_failed)):
        assert span.attributes is not None
        assert span.attributes["rpc.response.status_code"] == code
        assert ("error.type" in span.attributes) is is_error
        assert "customer" not in span.to_json()
