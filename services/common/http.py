"""How every HTTP service of the platform is put together and run."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.common.errors import UnexpectedErrorMiddleware, install_error_handlers
from services.common.metrics import RequestMetricsMiddleware, exposed, new_registry
from services.common.settings import ServiceSettings
from services.common.telemetry import RequestIdMiddleware, configure_logging
from services.common.tracing import OFF, TracingSettings, open_tracing
from services.common.tracing.asgi import TracingMiddleware

MEBIBYTE = 1024 * 1024

ReadinessCheck = Callable[[], Awaitable[bool] | bool]


class BodyLimitMiddleware:
    """Refuse a body over ``limit`` bytes with 413, announced or not, before anything reads it whole."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self.app = app
        self.limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "0")
        received = 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.limit or int(announced) > self.limit:
                # FastAPI lets only its own exception through from where it reads a body.
                raise HTTPException(413, f"The body is larger than {self.limit} bytes.")
            return message

        await self.app(scope, limited, send)


def create_app(
    title: str,
    lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]],
    *,
    body_limit: int = MEBIBYTE,
    service: str = "",
    tracing: TracingSettings | None = None,
) -> FastAPI:
    """A FastAPI app with request ids, body limit, problem details, health routes and metrics.

    The lifespan may put named readiness checks into ``app.state.readiness``; ``/health/ready`` is 503 until all hold.
    ``app.state.metrics`` is the registry (of prometheus_client) that ``/metrics`` shows; the lifespan may add to it.
    ``app.state.tracing`` makes the spans of ``service``, as ``tracing`` says, from before the lifespan until after it.
    """

    @asynccontextmanager
    async def with_state(app: FastAPI) -> AsyncIterator[None]:
        async with open_tracing(service, tracing) as app.state.tracing:
            if app.state.tracing.exports is not None:
                app.state.metrics.register(app.state.tracing.exports)
            async with lifespan(app):
                app.state.started = True
                yield
                app.state.started = False

    app = FastAPI(title=title, lifespan=with_state, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.started = False
    app.state.tracing = OFF
    app.state.readiness = {}
    app.state.metrics = new_registry()
    app.add_middleware(UnexpectedErrorMiddleware)
    app.add_middleware(BodyLimitMiddleware, limit=body_limit)
    app.add_middleware(RequestIdMiddleware)
    app.add_middleware(RequestMetricsMiddleware, registry=app.state.metrics)
    app.add_middleware(TracingMiddleware)
    install_error_handlers(app)

    @app.get("/health/live", include_in_schema=False)
    async def live() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/health/ready", include_in_schema=False)
    async def ready() -> JSONResponse:
        checks = await _run_checks(app.state.readiness)
        holds = app.state.started and all(checks.values())
        body: dict[str, Any] = {"status": "ready" if holds else "not ready", "checks": checks}
        return JSONResponse(body, status_code=200 if holds else 503)

    @app.get("/metrics", include_in_schema=False)
    async def metrics(request: Request) -> Response:
        return exposed(app.state.metrics, request)

    return app


async def _run_checks(checks: Mapping[str, ReadinessCheck]) -> dict[str, bool]:
    results: dict[str, bool] = {}
    for name, check in checks.items():
        outcome = check()
        results[name] = outcome if isinstance(outcome, bool) else await outcome
    return results


def serve(app: FastAPI, service: str, settings: ServiceSettings, port: int) -> None:
    """Run ``app`` until SIGTERM or SIGINT, then let open requests finish for at most 3 s."""
    configure_logging(service, settings)
    uvicorn.run(
        app,
        host=settings.host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=3,
    )
