"""What plugins send to the outside, through real workers: with a private network opened, and with none."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from outlet.local import scenario
from outlet.local.client import GatewayClient
from outlet.local.stack import Stack
from outlet.local.waiting import until
from outlet.samples import retailer, sales
from outlet.samples.records import publish, record
from tests.e2e.calling_out import HOST, PLUGIN_ID, calling_plugin
from tests.e2e.support import environment, until_ready
from tests.runtime.outbound.receiver import Received, Receiver, answer, receiving
from tests.support.certificates import private_authority

ORGANIZATION = "calling"
STORE = "store-1"
SECRET = "correct-horse-battery-staple"
LOOPBACK_OPEN = {"OUTLET_OUTBOUND_ALLOWED": "127.0.0.0/8, ::1/128"}
ANOTHER_SECRET = "whsec_" + "A" * 44
NO_MORE = {"delivered", "failed"}


@dataclass
class Platform:
    """A platform with the plugin at work, and the receiver that it sends to."""

    stack: Stack
    client: GatewayClient
    receiver: Receiver

    def received(self, path: str) -> list[Received]:
        return [request for request in self.receiver.requests if request.target == path]

    async def until_answering(self) -> None:
        """Wait until the gateway knows the plugin, and a worker that runs it."""

        async def answers() -> bool:
            return (await self.client.route("GET", PLUGIN_ID, "/sent", store=STORE)).status_code == 200

        await until(answers, within=30, what="the plugin's routes answer")

    async def sell(self, sale: str) -> None:
        """A till's event, on Kafka."""
        document: dict[str, Any] = {**sales(retailer(), 1)[0], "id": sale}
        await publish(self.stack.bootstrap, [record("sale", document, organization=ORGANIZATION)])

    async def ask(self, method: str, path: str) -> dict[str, Any]:
        response = await self.client.route(method, PLUGIN_ID, path, store=STORE)
        assert response.status_code == 200, response.text
        return dict(response.json())

    async def outcome(self, sale: str) -> str:
        """What the plugin wrote down of a sale once its hook was committed."""
        found: dict[str, str] = {}

        async def committed() -> bool:
            found.update(await self.ask("GET", "/sent"))
            return sale in found

        await until(committed, within=60, what=f"the hook for {sale} is committed")
        return found[sale]

    async def deliveries(self, webhook: str) -> list[dict[str, Any]]:
        """The log of a webhook, newest first."""
        return list((await self.ask("GET", f"/deliveries/{webhook}"))["deliveries"])

    async def first_delivery(self, webhook: str) -> str:
        """Sell until the webhook gets something: its events count from about a second after it was registered."""
        for number in range(30):
            await self.sell(sale := f"hooked-{number}")
            await self.outcome(sale)
            if found := await self.deliveries(webhook):
                return str(found[-1]["id"])
        raise AssertionError("no sale is owed to the webhook")

    async def delivery(self, webhook: str, wanted: str, ended: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """One delivery in a webhook's log, once it is as ``ended`` says."""
        found: dict[str, Any] = {}

        async def logged() -> bool:
            found.update(next(one for one in await self.deliveries(webhook) if one["id"] == wanted))
            return ended(found)

        await until(logged, within=30, what="the attempt is logged")
        return found


@asynccontextmanager
async def platform(folder: Path, settings: Mapping[str, str]) -> AsyncIterator[Platform]:
    """Start everything; the receiver's certificate is signed by an authority that the workers are told of."""
    authority, tls = private_authority(folder, HOST)
    package = calling_plugin(_new(folder / "plugin"))
    environ = environment({"OUTLET_OUTBOUND_CA_FILE": str(authority), **settings})
    async with (
        receiving(tls) as receiver,
        Stack(_new(folder / "platform"), environ=environ, durable=False) as stack,
        GatewayClient(stack.gateway_url, stack.issuer.token, ORGANIZATION) as client,
    ):
        await client.publish(package.data)
        url = receiver.url(HOST, "").replace("http:", "https:")
        installed = await client.install(PLUGIN_ID, {"url": url, "apiKey": SECRET})
        await client.activate(installed["id"])
        await scenario.rolled_out(client, installed["id"], "active")
        found = Platform(stack, client, receiver)
        await found.until_answering()
        yield found


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
async def opened(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Platform]:
    async with platform(tmp_path_factory.mktemp("opened"), LOOPBACK_OPEN) as found:
        yield found


async def test_a_secret_goes_to_the_receiver_and_not_to_the_plugin(opened: Platform) -> None:
    opened.receiver.answer = lambda request: answer(200, f"you sent {request.headers['authorization']}".encode())
    await opened.sell("secretive")
    outcome = await opened.outcome("secretive")
    (request,) = [found for found in opened.received("/sales") if json.loads(found.body)["id"] == "secretive"]
    assert request.headers["authorization"] == f"Bearer {SECRET}"
    assert request.headers["host"].startswith(HOST)
    assert outcome == "200 you sent Bearer {{secret:apiKey}}"


async def test_a_worker_that_dies_within_a_hook_sends_again_with_the_same_idempotency_key(opened: Platform) -> None:
    dead = asyncio.Event()

    async def hold(_: Received) -> bytes:
        await dead.wait()
        return answer(500)

    def sent() -> list[Received]:
        return [found for found in opened.received("/sales") if json.loads(found.body)["id"] == "repeated"]

    async def arrived() -> bool:
        return bool(sent())

    opened.receiver.answer = hold
    await opened.sell("repeated")
    await until(arrived, within=30, what="the first attempt reaches the receiver")
    opened.receiver.answer = answer(201, b"kept")
    opened.stack.kill("runtime")
    dead.set()
    await until_ready(opened.stack, "runtime")
    await opened.until_answering()
    assert await opened.outcome("repeated") == "201 kept"
    first, *later = [found.headers["idempotency-key"] for found in sent()]
    assert later == [first]


async def test_a_webhook_is_signed_tried_again_after_a_500_and_logged(opened: Platform) -> None:
    opened.receiver.answer = lambda request: answer(500 if request.target == "/webhook" else 200)
    webhook = await opened.ask("POST", "/webhook")
    wanted = await opened.first_delivery(webhook["id"])
    failed = await opened.delivery(webhook["id"], wanted, lambda one: one["response_code"] is not None)
    assert (failed["status"], failed["attempts"], failed["response_code"]) == ("pending", 1, 500)
    opened.receiver.answer = answer(204)
    delivered = await opened.delivery(webhook["id"], wanted, lambda one: one["status"] in NO_MORE)
    assert (delivered["status"], delivered["attempts"], delivered["response_code"]) == ("delivered", 2, 204)
    attempts = [found for found in opened.received("/webhook") if found.headers["webhook-id"] == wanted]
    assert len(attempts) == 2
    for request in attempts:
        message = Verifier(webhook["secret"]).verify(request.body, request.headers)
        assert (message["type"], message["data"]["id"][:7]) == ("sale.created", "hooked-")
        with pytest.raises(WebhookVerificationError):
            Verifier(ANOTHER_SECRET).verify(request.body, request.headers)


async def test_every_service_shows_its_metrics_and_the_worker_its_tier(opened: Platform) -> None:
    opened.receiver.answer = answer(200)
    await opened.sell("counted")
    await opened.outcome("counted")
    worker, *_ = opened.stack.runtime_metrics_urls
    services = [worker, opened.stack.registry_url, opened.stack.gateway_url, opened.stack.ui_components_url]
    async with httpx.AsyncClient() as client:
        shown = [(await client.get(f"{url}/metrics")).text.splitlines() for url in services]
        health = (await client.get(f"{worker}/healthz")).json()
    assert all(any(line.startswith("process_resident_memory_bytes ") for line in lines) for lines in shown)
    values = dict(line.rsplit(" ", 1) for line in shown[0] if not line.startswith("#"))
    assert values[f'outlet_sandbox_tier{{tier="{health["sandboxTier"]}"}}'] == "1.0"
    assert health["status"] == "ready"
    assert float(values["outlet_hook_runs_total"]) >= 1
    assert float(values["outlet_sandbox_guests"]) == 1
    assert float(values["outlet_directory_revision"]) > 0


async def test_without_the_setting_nothing_reaches_this_machine(tmp_path: Path) -> None:
    async with platform(tmp_path, {}) as shut:
        webhook = await shut.ask("POST", "/webhook")
        wanted = await shut.first_delivery(webhook["id"])
        assert await shut.outcome("hooked-0") == "address_refused"
        refused = await shut.delivery(webhook["id"], wanted, lambda one: one["error"] is not None)
        assert (refused["status"], refused["response_code"]) == ("pending", None)
        assert refused["error"] == f"{HOST} does not lead to a public address"
        assert shut.receiver.requests == []
