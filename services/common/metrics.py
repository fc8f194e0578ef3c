"""What a service counts, for Prometheus to fetch. Every process has one registry of its own, made where it is wired."""

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.common.directory import Directory

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


def new_registry() -> CollectorRegistry:
    """A registry that shows what the process itself uses (memory, processor, descriptors), and nothing else yet."""
    registry = CollectorRegistry(auto_describe=True)
    ProcessCollector(registry=registry)
    return registry


def exposed(registry: CollectorRegistry, request: Request) -> Response:
    """The answer to ``GET /metrics``: in the text format, or in OpenMetrics for whoever accepts it."""
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(registry), headers={"content-type": content_type})


class RequestMetricsMiddleware:
    """Counts the requests of a service and how long they took. No path becomes a label: there is no end of paths."""

    def __init__(self, app: ASGIApp, registry: CollectorRegistry) -> None:
        self.app = app
        self._requests = Counter("outlet_http_requests", "Requests answered.", ("method", "status"), registry=registry)
        self._seconds = Histogram(
            "outlet_http_request_seconds",
            "From a request's head to the last byte of its answer.",
            registry=registry,
            buckets=SECONDS,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        status = 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, watched)
        finally:
            method = scope["method"] if scope["method"] in METHODS else "other"
            self._requests.labels(method, f"{status // 100}xx").inc()
            self._seconds.observe(time.perf_counter() - began)


def watch_directory(registry: CollectorRegistry, directory: Directory) -> None:
    """Show how far the service has followed the directory."""
    gauge = Gauge("outlet_directory_revision", "The newest state of installations that is acted on.", registry=registry)
    gauge.set_function(lambda: directory.revision)
