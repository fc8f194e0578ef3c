"""One organization's loyalty programme from the catalogue to the till, in steps that stand on their own.

Everything goes through the doors that anyone has: the gateway and Kafka. The demo runs all steps on the embedded
platform; end-to-end tests run the same ones on real parts, with other numbers and with workers that die in between.
"""

import asyncio
import random
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from outlet.local.client import GatewayClient, Json, refusal
from outlet.local.waiting import NotInTime, until, until_consumed
from outlet.samples import Retailer, Sale, expected_points, points_of, retailer, sales
from outlet.samples.records import Position, Record, publish, record

PLUGIN_ID = "loyalty-points"
CONSUMER_GROUP = "outlet.runtime"
INJECTION_POINT = "POS.AfterCheckout"
CONCURRENT_READS = 8
UNAVAILABLE_SECONDS = 30.0


@dataclass(frozen=True)
class Trade:
    """A retailer's tickets as records: what is to be delivered, and what it must come to."""

    organization: str
    retailer: Retailer
    tickets: tuple[Sale, ...]
    further: Sale
    """One more ticket, which earns points when the plugin is active."""
    stream: tuple[Record, ...]
    """Every ticket once in order, and among them the repetitions that come soon after the first delivery."""
    late: tuple[Record, ...]
    """Repetitions for after everything else."""
    expected: Mapping[str, int]
    """Points of every customer, 0 included."""

    @property
    def redelivered(self) -> int:
        return len(self.stream) - len(self.tickets) + len(self.late)

    @property
    def stores(self) -> list[str]:
        return [store["id"] for store in self.retailer.stores]


def trade(
    organization: str, *, count: int = 2000, customers: int = 200, redelivered: int = 100, seed: int = 1
) -> Trade:
    """Make the trade of three stores. Repeated are tickets that earn or take points: counted twice, they would show."""
    shop = retailer(stores=3, customers=customers, seed=seed)
    drawn = sales(shop, count + 100, seed=seed)
    tickets = tuple(drawn[:count])
    records = [record("sale", ticket, organization=organization) for ticket in tickets]
    rng = random.Random(seed)  # noqa: S311 - repeatable samples, not secrets
    repeated = rng.sample([place for place, ticket in enumerate(tickets) if points_of(ticket)], k=redelivered)
    soon, late = repeated[: redelivered // 2], repeated[redelivered // 2 :]
    points = expected_points(tickets)
    return Trade(
        organization=organization,
        retailer=shop,
        tickets=tickets,
        further=next(ticket for ticket in drawn[count:] if points_of(ticket) > 0),
        stream=tuple(_with_repetitions(records, soon, rng)),
        late=tuple(records[place] for place in late),
        expected={customer["id"]: points.get(customer["id"], 0) for customer in shop.customers},
    )


async def set_up(client: GatewayClient, package: bytes, stores: Sequence[str], *, within: float = 60.0) -> str:
    """Publish the loyalty plugin, install it organization-wide and activate it; returns the id of the installation."""
    await client.publish(package)
    installation = await client.install(PLUGIN_ID)
    await switch(client, str(installation["id"]), stores, active=True, within=within)
    return str(installation["id"])


async def switch(
    client: GatewayClient, installation_id: str, stores: Sequence[str], *, active: bool, within: float = 60.0
) -> None:
    """Activate or deactivate, and wait until all act on it: the workers, the gateway, and the screens of every store.

    Events that come while it is not active are given up. Each of them follows the directory by itself, so one may be a
    moment ahead of another.
    """
    if active:
        await client.activate(installation_id)
    else:
        await client.deactivate(installation_id, backlog="discard")
    await rolled_out(client, installation_id, "active" if active else "inactive", within=within)
    status = 200 if active else 409

    async def followed() -> bool:
        for store in stores:
            route = await client.route("GET", PLUGIN_ID, "/points/nobody", store=store)
            shown = await components(client, store)
            if route.status_code != status or bool(shown) != active:
                return False
        return True

    await until(followed, within=within, what=f"routes answer {status} and screens show it as that says")


async def components(client: GatewayClient, store: str) -> list[str]:
    """The names of the plugin's components after a checkout in this store."""
    shown = await client.components(INJECTION_POINT, store)
    return [component["name"] for component in shown if component["pluginId"] == PLUGIN_ID]


async def rolled_out(client: GatewayClient, installation_id: str, status: str, *, within: float = 60.0) -> Json:
    """Wait until the installation has this status and every live worker knows it; returns the installation."""
    latest: Json = {}

    async def everywhere() -> bool:
        latest.update(await client.installation(installation_id))
        rollout = latest["rollout"]
        return bool(latest["status"] == status and 0 < rollout["workers"] == rollout["live"])

    await until(everywhere, within=within, what=f"installation {installation_id} is {status} on all workers")
    return latest


async def deliver(bootstrap: str, records: Iterable[Record], *, within: float = 120.0) -> list[Position]:
    """Produce the records as a POS does, and wait until the workers are done with them."""
    positions = await publish(bootstrap, records)
    await until_consumed(bootstrap, CONSUMER_GROUP, positions, within=within)
    return positions


async def read_points(client: GatewayClient, customers: Iterable[str], stores: Sequence[str]) -> dict[str, int]:
    """Every customer's balance through the plugin's own route, asked at the tills of all stores in turn."""
    turns = asyncio.Semaphore(CONCURRENT_READS)

    async def read(place: int, customer: str) -> tuple[str, int]:
        async with turns:
            return customer, await balance(client, customer, stores[place % len(stores)])

    async with asyncio.TaskGroup() as group:
        reads = [group.create_task(read(place, customer)) for place, customer in enumerate(customers)]
    return dict(task.result() for task in reads)


async def balance(client: GatewayClient, customer: str, store: str) -> int:
    """One customer's balance. Raises :class:`outlet.local.client.Refused` unless the route answers 200.

    A 503, as while every worker is starting again, is asked again for :data:`UNAVAILABLE_SECONDS`.
    """
    path = f"/points/{customer}"
    response = await client.route("GET", PLUGIN_ID, path, store=store)

    async def available() -> bool:
        nonlocal response
        if response.status_code == 503:
            response = await client.route("GET", PLUGIN_ID, path, store=store)
        return response.status_code != 503

    with suppress(NotInTime):
        await until(available, within=UNAVAILABLE_SECONDS, what="the plugin's route is available")
    if response.status_code != 200:
        raise refusal(response)
    return int(response.json()["points"])


async def settled_points(
    client: GatewayClient, expected: Mapping[str, int], stores: Sequence[str], *, within: float = 30.0
) -> dict[str, int]:
    """Read all balances, and those that differ again until they do not or the time is up: a hook may be retried."""
    found = await read_points(client, expected, stores)

    async def as_expected() -> bool:
        differing = [customer for customer, points in expected.items() if found[customer] != points]
        found.update(await read_points(client, differing, stores))
        return not any(found[customer] != expected[customer] for customer in differing)

    try:
        await until(as_expected, within=within, what="every balance is as expected")
    except NotInTime:
        return found
    return found


async def redeem(client: GatewayClient, customer: str, points: int, *, store: str, reference: str) -> tuple[int, Json]:
    """Pay with points; the route's status and its body."""
    response = await client.route(
        "POST",
        PLUGIN_ID,
        f"/points/{customer}/redeem",
        store=store,
        body={"points": points, "reference": reference},
    )
    return response.status_code, response.json()


def _with_repetitions(records: Sequence[Record], repeated: Iterable[int], rng: random.Random) -> list[Record]:
    again: dict[int, list[Record]] = {}
    for place in repeated:
        later = min(place + rng.randrange(1, 300), len(records) - 1)
        again.setdefault(later, []).append(records[place])
    return [item for place, first in enumerate(records) for item in (first, *again.get(place, ()))]
