"""One sale is one trace, through every process that has to do with it, as a collector sees it."""

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from outlet.local import scenario
from outlet.local.client import GatewayClient
from outlet.local.stack import Stack
from outlet.local.waiting import until
from outlet.samples import retailer, sales
from tests.e2e.support import Caller, environment
from tests.e2e.traced import FIRST, HOST, SECOND, plugin
from tests.runtime.outbound.receiver import Receiver, receiving
from tests.support.certificates import private_authority
from tests.support.spans import SAMPLED, TRACE_ID, Collector, Seen, collecting

ORGANIZATION = "traced"
STORE = "store-1"
STRUCTURED = {"content-type": "application/cloudevents+json"}
INGEST = ("outlet-gateway", "POST /api/events")
CALL_ROUTE = "outlet.runtime.v1.PluginRuntime/CallRoute"
ROUTE = "GET /api/plugins/{plugin_id}/api/{path:path}"


@dataclass
class Platform:
    """A platform with both plugins at work, what they send to, and the collector of its spans."""

    stack: Stack
    client: GatewayClient
    receiver: Receiver
    collector: Collector

    async def post(self, sale: str, **headers: str) -> httpx.Response:
        event = {
            "specversion": "1.0",
            "id": f"event-{sale}",
            "source": "/pos/7",
            "type": "sale.created",
            "organization": ORGANIZATION,
            "store": STORE,
            "data": {**sales(retailer(), 1)[0], "id": sale},
        }
        async with Caller(self.stack, ORGANIZATION) as caller:
            return await caller.ask(
                "POST", "/api/events", role="cashier", content=json.dumps(event), headers={**STRUCTURED, **headers}
            )

    async def told(self, sale: str) -> None:
        """Wait until the second plugin's job is done."""

        async def done() -> bool:
            answer = await self.client.route("GET", SECOND, f"/told/{sale}", store=STORE)
            return bool(answer.status_code == 200 and answer.json()["told"] == "told")

        await until(done, within=20, what=f"the job for {sale} is done")

    async def webhook(self) -> None:
        """Wait until the receiver has got a delivery: events count from about a second after it was registered."""
        assert (await self.client.route("POST", FIRST, "/webhook", store=STORE)).status_code == 200

    def received(self, path: str) -> list[dict[str, str]]:
        return [request.headers for request in self.receiver.requests if request.target == path]


@asynccontextmanager
async def platform(folder: Path) -> AsyncIterator[Platform]:
    authority, tls = private_authority(folder, HOST)
    async with receiving(tls) as receiver, collecting() as collector:
        settings = {
            "OUTLET_OUTBOUND_CA_FILE": str(authority),
            "OUTLET_OUTBOUND_ALLOWED": "127.0.0.0/8, ::1/128",
            "OUTLET_HOOK_FIRST_PAUSE": "0.1",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_BSP_SCHEDULE_DELAY": "200",
        }
        async with (
            Stack(folder / "platform", environ=environment(settings), durable=False) as stack,
            GatewayClient(stack.gateway_url, stack.issuer.token, ORGANIZATION) as client,
        ):
            url = receiver.url(HOST, "").replace("http:", "https:")
            for plugin_id in (FIRST, SECOND):
                await client.publish(plugin(folder / plugin_id, plugin_id).data)
                installed = await client.install(plugin_id, {"url": url})
                await client.activate(installed["id"])
                await scenario.rolled_out(client, installed["id"], "active")
            yield Platform(stack, client, receiver, collector)


@pytest.fixture(scope="module")
async def traced(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Platform]:
    async with platform(tmp_path_factory.mktemp("traced")) as found:
        yield found


def path(collector: Collector, last: Seen) -> list[tuple[str, str]]:
    """From the first span of a trace to this one, each with its service."""
    by_id = {span.id: span for span in collector.spans if span.trace == last.trace}
    found = [last]
    while parent := by_id.get(found[0].parent):
        found.insert(0, parent)
    return [(span.service, span.name) for span in found]


def runtime(*names: str) -> list[tuple[str, str]]:
    return [("outlet-runtime", name) for name in names]


EMITTED = [
    INGEST,
    ("outlet-gateway", "send outlet.events.sale"),
    *runtime("process outlet.events.sale", "hook sale.created", "api events.emit"),
]
HEARD = [*EMITTED, *runtime("send outlet.events.plugin", "process outlet.events.plugin", f"hook {FIRST}/noticed")]
JOB = [*HEARD, *runtime("api jobs.enqueue", "job tell")]


async def test_a_sale_and_all_that_follows_from_it_are_one_trace(traced: Platform) -> None:
    collector = traced.collector
    await traced.webhook()
    delivered: list[Seen] = []
    for number in range(30):  # a webhook's events count from about a second after it was registered
        assert (await traced.post(f"sold-{number}")).status_code == 202
        await traced.told(f"sold-{number}")
        delivered = collector.named("webhook POST")
        if delivered:
            break
    trace = delivered[0].trace

    def all_there() -> bool:
        return all(collector.named(name, trace) for _, name in [*JOB, ("", "api data.set"), ("", "GET")])

    await collector.until(all_there, "every span has come")
    assert path(collector, delivered[0]) == [*EMITTED, *runtime("webhook POST")]
    assert path(collector, collector.named("job tell", trace)[0]) == JOB
    assert path(collector, collector.named("GET", trace)[0]) == [*JOB, *runtime("api fetch.send", "GET")]
    assert {span.parent for span in collector.spans if span.trace == trace} - ids(collector, trace) == {""}

    first, second = sorted(
        collector.named(f"hook {FIRST}/noticed", trace), key=lambda span: int(span.attributes["outlet.attempt"])
    )
    assert (first.failed, first.attributes["error.type"], second.failed) == (True, "plugin_raised", False)
    assert first.parent == second.parent

    [sent] = [headers for headers in traced.received("/webhook") if trace in headers["traceparent"]]
    assert sent["traceparent"].startswith(f"00-{trace}-{delivered[0].id}-")
    assert {headers["traceparent"] for headers in traced.received("/told")} == {"a forgery"}  # what the plugin says
    assert not [word for word in words(collector.spans) if "4711" in word or "customer" in word]


async def test_a_route_is_a_trace_from_the_gateway_into_the_plugin(traced: Platform) -> None:
    await traced.client.route("GET", SECOND, "/told/nobody", store=STORE)
    collector = traced.collector

    def come() -> list[Seen]:
        gateways = {span.trace for span in collector.named(ROUTE)}
        return [span for span in collector.named("api data.get") if span.trace in gateways]

    await collector.until(lambda: bool(come()), "the spans of a route have come")
    assert path(collector, come()[-1]) == [
        ("outlet-gateway", ROUTE),
        ("outlet-gateway", CALL_ROUTE),
        *runtime(CALL_ROUTE, "route GET /told/{sale}", "api data.get"),
    ]
    assert not [word for word in words(collector.spans) if "nobody" in word]


async def test_activating_a_plugin_is_a_trace_through_the_registry(traced: Platform) -> None:
    hooks = traced.collector.named("lifecycle onActivate")
    assert len(hooks) == 2
    steps = path(traced.collector, hooks[0])
    assert [service for service, _ in steps] == [
        *("outlet-gateway", "outlet-gateway", "outlet-registry", "outlet-registry"),
        *("outlet-runtime", "outlet-runtime"),
    ]


async def test_ingest_continues_a_trace_that_it_is_given_and_begins_one_when_that_is_malformed(
    traced: Platform,
) -> None:
    assert (await traced.post("given", traceparent=SAMPLED)).status_code == 202
    assert (await traced.post("malformed", traceparent="00-not-a-trace-01")).status_code == 202
    await traced.told("given")
    await traced.told("malformed")
    collector = traced.collector

    def of(event: str) -> set[str]:
        return {span.trace for span in collector.spans if span.attributes.get("cloudevents.event_id") == event}

    await collector.until(lambda: bool(of("event-given") and of("event-malformed")), "both sales are traced")
    assert of("event-given") == {f"{TRACE_ID:032x}"}
    assert len(of("event-malformed")) == 1
    assert of("event-malformed") != of("event-given")


def ids(collector: Collector, trace: str) -> set[str]:
    return {span.id for span in collector.spans if span.trace == trace}


def words(spans: Iterable[Seen]) -> Iterable[str]:
    """All that the spans say."""
    for span in spans:
        yield from (span.name, *map(str, span.attributes.values()))
