"""What a worker shows over HTTP, read as Prometheus reads it."""

import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from outlet.local.network import free_port
from services.common.directory import Directory
from services.common.runtime_client import PluginFailed
from services.runtime.metrics import RuntimeCollector, showing
from services.runtime.reporting import Reporter
from services.runtime.sandbox import GuestKey, SandboxPool, Zygote
from tests.runtime.installations import installation
from tests.runtime.sandbox import plugins
from tests.runtime.sandbox.plugins import Caller


@dataclass
class Shown:
    """A worker's parts, and what is shown of them."""

    url: str
    pool: SandboxPool
    caller: Caller
    reporter: Reporter
    directory: Directory
    zygote: Zygote
    in_flight: int = 0
    ready: bool = False

    @property
    def collector(self) -> RuntimeCollector:
        return RuntimeCollector("A", self.pool, self.zygote, self.reporter, self.directory, lambda: self.in_flight)

    async def get(self, path: str, **headers: str) -> httpx.Response:
        async with httpx.AsyncClient(base_url=self.url) as client:
            return await client.get(path, headers=headers)

    async def samples(self) -> dict[str, float]:
        """The value of each sample, by its name and its labels' values."""
        text = (await self.get("/metrics")).text
        return {
            " ".join([sample.name, *sample.labels.values()]): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }


@pytest.fixture
async def shown(tmp_path: Path) -> AsyncIterator[Shown]:
    built = plugins.build(tmp_path, '@plugin.route("GET", "/one")\nasync def root() -> dict:\n    return {}\n')

    async def fetch(_: GuestKey) -> bytes:
        return built.data

    publishes_nothing: Any = None
    reporter, directory, port = Reporter(publishes_nothing, "w-1"), Directory(), free_port()
    async with Zygote() as zygote:
        pool = SandboxPool(zygote, fetch)
        found = Shown(f"http://127.0.0.1:{port}", pool, Caller(pool, built), reporter, directory, zygote)
        async with showing("127.0.0.1", port, found.collector, lambda: found.ready):
            yield found
        await pool.close()


async def test_the_tier_is_the_one_of_four_that_is_1(shown: Shown) -> None:
    samples = await shown.samples()
    assert {tier: samples[f"outlet_sandbox_tier {tier}"] for tier in "ABCD"} == {"A": 1, "B": 0, "C": 0, "D": 0}


async def test_guests_are_counted_when_they_start_and_while_they_run(shown: Shown) -> None:
    assert (await shown.samples())["outlet_sandbox_guests"] == 0
    await shown.caller.route("GET", "/one")
    await shown.caller.route("GET", "/one")
    samples = await shown.samples()
    assert (samples["outlet_sandbox_guests"], samples["outlet_sandbox_guest_starts_total"]) == (1, 1)
    await shown.pool.close()
    samples = await shown.samples()
    assert (samples["outlet_sandbox_guests"], samples["outlet_sandbox_guest_starts_total"]) == (0, 1)


async def test_calls_and_failures_are_counted_across_installations(shown: Shown) -> None:
    for organization in ("acme", "globex"):
        found = installation(organization=organization)
        shown.reporter.hook_ran(found, "sale.created", "s1", 0.001)
        shown.reporter.api_called(found)
        shown.reporter.failed(found, "sale.created", PluginFailed("plugin_timeout", "too slow"))
    shown.reporter.route_called(found, "GET /one", "s1", 0.001)
    samples = await shown.samples()
    names = ("outlet_hook_runs_total", "outlet_api_calls_total", "outlet_route_calls_total")
    assert [samples[name] for name in names] == [2, 2, 1]
    assert samples["outlet_plugin_failures_total plugin_timeout"] == 2
    assert samples["outlet_plugin_failures_total plugin_raised"] == 0


async def test_no_code_of_a_failure_makes_a_new_label(shown: Shown) -> None:
    await shown.samples()  # which is a request that is counted
    before = (await shown.samples()).keys()
    for number in range(5):
        shown.reporter.failed(installation(), "sale.created", PluginFailed(f"made-up-{number}", "no"))
    samples = await shown.samples()
    assert samples.keys() == before
    assert samples["outlet_plugin_failures_total other"] == 5


async def test_the_newest_state_is_shown_at_once(shown: Shown) -> None:
    shown.directory.advance(7)
    shown.in_flight = 12
    samples = await shown.samples()
    assert (samples["outlet_directory_revision"], samples["outlet_records_in_flight"]) == (7, 12)


async def test_health_says_when_the_worker_serves_and_its_tier(shown: Shown) -> None:
    answer = await shown.get("/healthz")
    assert (answer.status_code, answer.json()) == (503, {"status": "not ready", "sandboxTier": "A"})
    assert (await shown.get("/health/live")).status_code == 200
    assert (await shown.get("/health/ready")).status_code == 503
    shown.ready = True
    assert (await shown.get("/healthz")).status_code == (await shown.get("/health/ready")).status_code == 200


async def test_a_taken_port_stops_the_start(shown: Shown) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        async with showing("127.0.0.1", taken.getsockname()[1], shown.collector, lambda: True):
            raise AssertionError
