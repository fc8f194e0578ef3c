"""The spans of gRPC calls, at both ends. The context travels in the call's metadata."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
from opentelemetry.trace import Span, SpanKind

from services.common.tracing.contexts import current, headers_of, of_headers
from services.common.tracing.spans import Tracing, failed

SYSTEM = "rpc.system.name"
METHOD = "rpc.method"
STATUS = "rpc.response.status_code"

_OURS = "/outlet."
_FAULTS = frozenset(
    {
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)
"""What is the server's fault, and no answer to the caller (semantic conventions for gRPC)."""

Details = Any  # grpc's own types of them are not public


class ClientSpans(grpc.aio.UnaryUnaryClientInterceptor):
    """A span for each call, as part of what the caller is at."""

    def __init__(self, tracing: Tracing) -> None:
        self._tracing = tracing

    async def intercept_unary_unary(
        self, continuation: Callable[[Details, Any], Awaitable[Any]], client_call_details: Details, request: Any
    ) -> Any:
        method = _name(client_call_details.method.decode())
        with self._tracing.span(method, SpanKind.CLIENT, current(), {SYSTEM: "grpc", METHOD: method}) as span:
            metadata = client_call_details.metadata or grpc.aio.Metadata()
            for name, value in headers_of(current()).items():
                metadata.add(name, value)
            call = await continuation(client_call_details._replace(metadata=metadata), request)
            code = await call.code()
            _ended(span, code, fault=code is not grpc.StatusCode.OK)
            return call


class ServerSpans(grpc.aio.ServerInterceptor):
    """A span for each call of the platform's own services, as part of the caller's trace; not for streams."""

    def __init__(self, tracing: Tracing) -> None:
        self._tracing = tracing

    async def intercept_service(
        self, continuation: Callable[[Details], Awaitable[Any]], handler_call_details: Details
    ) -> Any:
        handler = await continuation(handler_call_details)
        path: str = handler_call_details.method
        if handler is None or handler.unary_unary is None or not path.startswith(_OURS):
            return handler
        parent = of_headers(dict(handler_call_details.invocation_metadata))
        method = _name(path)

        async def traced(request: Any, context: Any) -> Any:
            span = self._tracing.start(method, SpanKind.SERVER, parent, {SYSTEM: "grpc", METHOD: method})
            code = grpc.StatusCode.UNKNOWN  # what an exception comes to
            try:
                with self._tracing.within(span.get_span_context()):
                    answer = await handler.unary_unary(request, context)
                code = context.code() or grpc.StatusCode.OK
                return answer
            except grpc.aio.AbortError:
                code = context.code()
                raise
            except asyncio.CancelledError:
                code = grpc.StatusCode.CANCELLED
                raise
            finally:
                _ended(span, code, fault=code in _FAULTS)
                span.end()

        return grpc.unary_unary_rpc_method_handler(traced, handler.request_deserializer, handler.response_serializer)


def _name(path: str) -> str:
    """``package.Service/Method``."""
    return path.removeprefix("/")


def _ended(span: Span, code: grpc.StatusCode, *, fault: bool) -> None:
    span.set_attribute(STATUS, code.name)
    if fault:
        failed(span, code.name)
