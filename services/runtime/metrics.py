"""What a worker shows of itself over HTTP: metrics for Prometheus and its health. Its work comes by gRPC and Kafka."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from outlet._frames import Tier
from services.common.directory import Directory
from services.common.http import create_app
from services.runtime.reporting import Reporter
from services.runtime.sandbox import MEANING, SandboxPool, Zygote

FAILURES = (
    *("invalid_event", "plugin_bad_result", "plugin_exited", "plugin_limit_exceeded", "plugin_load_failed"),
    *("plugin_protocol_error", "plugin_raised", "plugin_rate_limited", "plugin_timeout"),
    *("package_untrusted", "plugin_revoked"),
)
"""Codes that failures have (docs/errors.md). Any other is counted as ``other``, so that there is an end of labels."""


@dataclass(frozen=True, slots=True)
class RuntimeCollector(Collector):
    """Reads a worker's own objects whenever Prometheus asks."""

    tier: Tier
    guests: SandboxPool
    zygote: Zygote
    reporter: Reporter
    directory: Directory
    records_in_flight: Callable[[], int]

    def collect(self) -> Iterator[Metric]:
        yield self._tier()
        yield GaugeMetricFamily("outlet_sandbox_guests", "Plugin processes that run.", len(self.guests))
        yield CounterMetricFamily("outlet_sandbox_guest_starts", "Plugin processes started.", self.zygote.started)
        totals = self.reporter.totals
        yield CounterMetricFamily("outlet_hook_runs", "Hooks, jobs and ticks handed to plugins.", totals.hook_runs)
        yield CounterMetricFamily("outlet_route_calls", "Custom routes called.", totals.route_calls)
        yield CounterMetricFamily("outlet_api_calls", "Plugin API calls made by plugins.", totals.api_calls)
        yield self._failures(totals.failures)
        yield GaugeMetricFamily(
            "outlet_records_in_flight", "Records taken from Kafka and not finished.", self.records_in_flight()
        )
        yield GaugeMetricFamily(
            "outlet_directory_revision",
            "The newest state of an installation that is acted on.",
            self.directory.revision,
        )

    def _tier(self) -> Metric:
        family = GaugeMetricFamily("outlet_sandbox_tier", "1 for the tier that the sandbox has.", labels=["tier"])
        for tier in MEANING:
            family.add_metric([tier], float(tier == self.tier))
        return family

    def _failures(self, counted: Mapping[str, int]) -> Metric:
        family = CounterMetricFamily("outlet_plugin_failures", "Failed hooks, routes and jobs.", labels=["code"])
        known = {code: counted.get(code, 0) for code in FAILURES}
        for code, count in {**known, "other": sum(counted.values()) - sum(known.values())}.items():
            family.add_metric([code], count)
        return family


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are for the worker, which ends this server in its time."""
        yield


@asynccontextmanager
async def showing(
    host: str, port: int, collector: RuntimeCollector, ready: Callable[[], bool], exports: Collector | None = None
) -> AsyncIterator[None]:
    """Serve ``/metrics``, ``/healthz`` and the health routes that every service has, within the block.

    ``exports`` counts the spans that were exported.

    Raises OSError when the port cannot be had.
    """
    app = health_app(collector, ready)
    if exports is not None:
        app.state.metrics.register(exports)
    server = _Server(uvicorn.Config(app, log_config=None, access_log=False))
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family) as listener:
        serving = asyncio.create_task(server.serve(sockets=[listener]), name="metrics")
        try:
            yield
        finally:
            server.should_exit = True
            await serving


def health_app(collector: RuntimeCollector, ready: Callable[[], bool]) -> FastAPI:
    """The ASGI app of :func:`showing`. ``ready``: whether the worker takes calls."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.readiness = {"serving": ready}
        yield

    app = create_app("Outlet runtime", lifespan)
    app.state.metrics.register(collector)

    @app.get("/healthz", include_in_schema=False)
    async def healthz() -> JSONResponse:
        holds = ready()
        body = {"status": "ready" if holds else "not ready", "sandboxTier": collector.tier}
        return JSONResponse(body, status_code=200 if holds else 503)

    return app
