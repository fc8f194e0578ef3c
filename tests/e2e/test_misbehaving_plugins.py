"""Plugins that raise, answer rubbish, hang or die: the failure is labelled, and nobody else notices."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from outlet.local import scenario
from outlet.local.client import GatewayClient
from outlet.local.stack import Stack
from outlet.local.waiting import until
from outlet.package import Package
from outlet.samples import Sale, expected_points, retailer, sales
from outlet.samples.records import Position, Record, record
from tests.e2e.misbehaving import CODES, PLUGIN_ID, misbehaving_plugin
from tests.e2e.support import Caller, assert_problem, environment
from tests.e2e.topics import until_dead_letter

ORGANIZATION = "misbehaving"
STORE = "store-1"
SALES = 20
MISBEHAVING_SALE = 7
DEADLINES = {
    "OUTLET_HOOK_ATTEMPTS": "1",
    "OUTLET_HOOK_DEADLINE": "2",
    "OUTLET_ROUTE_DEADLINE": "2",
    "OUTLET_LIFECYCLE_DEADLINE": "2",
}
SECRETS = ("a secret of the author", "Traceback", "misbehaving/__init__.py")

every_way = pytest.mark.parametrize(("how", "code"), CODES.items())


@dataclass(frozen=True)
class Neighbours:
    """Two plugins of one organization: the misbehaving one, installed under this id, and loyalty points."""

    stack: Stack
    package: Package
    installation: str
    caller: Caller
    client: GatewayClient

    async def balance(self, customer: str) -> int:
        return await scenario.balance(self.client, customer, STORE)

    async def seen(self) -> set[str]:
        """What the misbehaving plugin has stored, through its own route, which still answers."""
        answer = await self.client.route("GET", PLUGIN_ID, "/seen", store=STORE)
        assert answer.status_code == 200, answer.text
        return set(answer.json()["seen"])


@pytest.fixture(scope="module")
async def neighbours(loyalty: Package, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Neighbours]:
    """A platform with short deadlines, and both plugins at work on it."""
    misbehaving = misbehaving_plugin(tmp_path_factory.mktemp("misbehaving"))
    directory = tmp_path_factory.mktemp("platform")

    async def answers() -> bool:
        return (await client.route("GET", PLUGIN_ID, "/seen", store=STORE)).status_code == 200

    async with (
        Stack(directory, environ=environment(DEADLINES), durable=False) as stack,
        GatewayClient(stack.gateway_url, stack.issuer.token, ORGANIZATION, publisher=ORGANIZATION) as client,
        Caller(stack, ORGANIZATION) as caller,
    ):
        await scenario.set_up(client, loyalty.data, [STORE])
        await client.publish(misbehaving.data, level="private")  # it passes no check
        installation = (await client.install(PLUGIN_ID))["id"]
        await client.activate(installation)
        await scenario.rolled_out(client, installation, "active")
        await until(answers, within=15, what="the gateway knows the misbehaving plugin")
        yield Neighbours(stack, misbehaving, installation, caller, client)


def tickets(customer: str) -> list[Sale]:
    """Sales to one customer."""
    return [
        {**ticket, "id": f"{customer}-{number}", "customerId": customer}
        for number, ticket in enumerate(sales(retailer(), SALES))
    ]


def records_of(documents: list[Sale], how: str) -> list[Record]:
    """The events of these sales, one of which makes the plugin misbehave."""
    told: list[dict[str, Any]] = [dict(document) for document in documents]
    told[MISBEHAVING_SALE]["misbehave"] = how
    return [record("sale", document, organization=ORGANIZATION) for document in told]


async def reported(caller: Caller, installation: str, **members: str) -> dict[str, Any]:
    """Wait until the installation's details show an error with these members; the error."""
    found: list[dict[str, Any]] = []

    async def shown() -> bool:
        errors = (await caller.read(installation))["errors"]
        found[:] = [error for error in errors if members.items() <= error.items()]
        return bool(found)

    await until(shown, within=15, what=f"installation {installation} shows an error with {members}")
    assert len(found) == 1, "one failure is one error"
    return found[0]


def assert_keeps_secrets(answer: httpx.Response) -> None:
    assert not [secret for secret in SECRETS if secret in answer.text]


@every_way
async def test_hook_that_misbehaves_costs_its_own_event_alone(neighbours: Neighbours, how: str, code: str) -> None:
    documents = tickets(how)
    records = records_of(documents, how)

    positions = await scenario.deliver(neighbours.stack.bootstrap, records, within=60)

    assert await neighbours.balance(how) == expected_points(documents)[how]
    others = {document["id"] for document in documents} - {documents[MISBEHAVING_SALE]["id"]}

    async def all_others_seen() -> bool:
        return {sale for sale in await neighbours.seen() if sale.startswith(f"{how}-")} == others

    await until(all_others_seen, within=60, what="the events beside it had their effects")
    failed = records[MISBEHAVING_SALE]
    error = await reported(neighbours.caller, neighbours.installation, eventId=failed.id)
    assert (error["source"], error["code"], error["during"]) == ("plugin", code, "sale.created")
    assert error["message"]
    await assert_dead_letter(neighbours, failed, positions[MISBEHAVING_SALE], code)


async def assert_dead_letter(neighbours: Neighbours, failed: Record, position: Position, code: str) -> None:
    letter = await until_dead_letter(neighbours.stack.bootstrap, position)
    assert (letter.key, letter.value) == (failed.key, failed.value)
    added = {name: content.decode() for name, content in letter.headers if name.startswith("outlet_")}
    assert sorted(header for header in letter.headers if header[0] not in added) == sorted(failed.headers)
    assert added.pop("outlet_reason")
    assert added.pop("outlet_at")
    assert added == {
        "outlet_code": code,
        "outlet_topic": position.topic,
        "outlet_partition": str(position.partition),
        "outlet_offset": str(position.offset),
        "outlet_installation": neighbours.installation,
        "outlet_plugin": PLUGIN_ID,
        "outlet_version": "1.0.0",
        "outlet_hook": "sale.created",
        "outlet_attempts": "1",
    }


@every_way
async def test_route_that_misbehaves_is_a_labelled_problem(neighbours: Neighbours, how: str, code: str) -> None:
    async def neighbour_answers() -> int:
        return (await neighbours.client.route("GET", "loyalty-points", "/points/nobody", store=STORE)).status_code

    path = f"/api/plugins/{PLUGIN_ID}/api/do/{how}"
    answering = asyncio.create_task(neighbours.caller.ask("POST", path, role="cashier", store=STORE))
    assert [await neighbour_answers() for _ in range(3)] == [200, 200, 200]
    answer = await answering

    if code == "plugin_timeout":
        problem = assert_problem(answer, 504, "plugin_timeout")
    else:
        problem = assert_problem(answer, 502, "plugin_failed")
        assert problem["pluginCode"] == code
    assert (problem["source"], problem["pluginId"]) == ("plugin", PLUGIN_ID)
    assert_keeps_secrets(answer)
    error = await reported(neighbours.caller, neighbours.installation, during=f"POST /do/{how}")
    assert (error["source"], error["code"], error["eventId"]) == ("plugin", code, None)
    assert how not in await neighbours.seen(), "what it stored before it failed is undone"


@every_way
async def test_lifecycle_hook_that_misbehaves_leaves_an_error_and_can_be_tried_again(
    neighbours: Neighbours, how: str, code: str
) -> None:
    async with Caller(neighbours.stack, f"activates-{how}") as caller:
        installed = await caller.ask("POST", "/api/plugins/install", json={"pluginId": PLUGIN_ID})
        place = f"/api/plugins/{installed.json()['id']}"
        await configure(caller, place, {"onActivate": how})

        answer = await caller.ask("POST", f"{place}/activate")

        problem = assert_problem(answer, 502, "lifecycle_hook_failed")
        assert (problem["source"], problem["pluginCode"], problem["hook"]) == ("plugin", code, "onActivate")
        assert "Traceback" not in answer.text
        details = await caller.read(installed.json()["id"])
        assert details["status"] == "error"
        assert code in details["statusReason"]
        assert [(error["source"], error["code"], error["during"]) for error in details["errors"]] == [
            ("plugin", code, "onActivate")
        ]
        assert await neighbours.balance("nobody") == 0

        await configure(caller, place, {})
        again = await caller.ask("POST", f"{place}/activate")
        assert (again.status_code, again.json()["status"]) == (200, "active")


async def configure(caller: Caller, place: str, config: Mapping[str, Any]) -> None:
    answer = await caller.ask("PUT", f"{place}/config", json={"config": config})
    assert answer.status_code == 200, answer.text


async def test_plugin_whose_installation_failed_is_installed_by_the_next_try(neighbours: Neighbours) -> None:
    async with Caller(neighbours.stack, "installs-twice") as caller:
        wanted = {"pluginId": PLUGIN_ID, "config": {"onInstall": "os-exit"}}
        problem = assert_problem(
            await caller.ask("POST", "/api/plugins/install", json=wanted), 502, "lifecycle_hook_failed"
        )
        details = await caller.read(problem["installationId"])
        assert (details["status"], details["installedAt"]) == ("error", None)
        assert [error["code"] for error in details["errors"]] == ["plugin_exited"]

        again = await caller.ask("POST", "/api/plugins/install", json={"pluginId": PLUGIN_ID})
        assert (again.status_code, again.json()["id"]) == (201, problem["installationId"])
        assert again.json()["status"] == "inactive"


async def test_plugin_that_fails_to_deactivate_and_to_uninstall_can_be_removed(neighbours: Neighbours) -> None:
    async with Caller(neighbours.stack, "leaves-unwillingly") as caller:
        config = {"onDeactivate": "hang-busy", "onUninstall": "raise"}
        installed = await caller.ask("POST", "/api/plugins/install", json={"pluginId": PLUGIN_ID, "config": config})
        place = f"/api/plugins/{installed.json()['id']}"
        assert (await caller.ask("POST", f"{place}/activate")).status_code == 200

        for method, path in (("POST", f"{place}/deactivate"), ("DELETE", place)):
            assert_problem(await caller.ask(method, path), 502, "lifecycle_hook_failed")
            assert (await caller.read(installed.json()["id"]))["status"] == "error"

        removed = await caller.ask("DELETE", place, params={"force": "true"})
        assert removed.status_code == 204
        assert_problem(await caller.ask("GET", place), 404, "installation_not_found")


async def test_stack_of_a_failure_is_for_those_who_manage(neighbours: Neighbours) -> None:
    document = {"id": "stack-1", "storeId": STORE, "misbehave": "raise"}
    failing = record("sale", document, organization=ORGANIZATION)
    await scenario.deliver(neighbours.stack.bootstrap, [failing])
    error = await reported(neighbours.caller, neighbours.installation, eventId=failing.id)
    assert "a secret of the author" in error["message"]
    assert "misbehaving/__init__.py" in error["stack"]

    place = f"/api/plugins/{neighbours.installation}"
    for path, member in ((place, "errors"), (f"{place}/stats", "lastErrors")):
        errors = (await neighbours.caller.ask("GET", path, role="manager")).json()[member]
        assert {error["stack"] for error in errors} == {None}


async def test_statistics_count_every_run_and_every_failure(neighbours: Neighbours) -> None:
    path = f"/api/plugins/{neighbours.installation}/stats"

    async def counts() -> tuple[int, int]:
        found = (await neighbours.caller.ask("GET", path)).json()
        return found["hookRuns"], found["errors"]

    runs, errors = await counts()
    await scenario.deliver(neighbours.stack.bootstrap, records_of(tickets("counted"), "raise"))

    async def counted() -> bool:
        return await counts() == (runs + SALES, errors + 1)

    await until(counted, within=15, what=f"{SALES} more runs and 1 more failure are counted")
