"""Where webhooks meet the platform's other parts: the dispatcher that owes them, the invoker that keeps secrets."""

import msgspec

from outlet._calls import Facts
from outlet.manifest import HookDeclaration
from services.common.directory import Directory
from services.runtime.delivery.arrivals import Arrival
from services.runtime.invocation import Invocation, source_of
from services.runtime.invoker import Invoker
from services.runtime.outbound.webhooks import repository
from services.runtime.outbound.webhooks.feed import WebhookFeed
from services.runtime.sandbox import GuestCall
from tests.runtime.delivery.test_dispatch import Notes, Pool, arrival, scripted_dispatcher
from tests.runtime.installations import installation
from tests.runtime.resources import resources
from tests.runtime.scripted import Api, ScriptedSandbox, raising


async def test_a_consumed_event_is_owed_once_also_when_its_hook_fails(runtime_pool: Pool, platform_pool: Pool) -> None:
    wanting, other = installation(), installation(organization="globex")
    directory, feed, notes = Directory(), WebhookFeed(), Notes()
    for found in (wanting, other):
        directory.put(found)
        async with platform_pool.acquire() as connection:
            await repository.register(connection, found.id, "sale.created", "https://api.example.com/")
    await feed.refresh(runtime_pool)
    sandbox = ScriptedSandbox(raising)
    dispatcher = scripted_dispatcher(directory, runtime_pool, sandbox, notes, feed)
    for _ in range(2):
        await dispatcher.dispatch([arrival(notes, 1)])
    await notes.until_finished(2)
    rows = await platform_pool.fetch("SELECT installation_id, event_id FROM webhook_delivery")
    assert [tuple(row) for row in rows] == [(wanting.id, "e1")]


async def test_a_plugins_own_change_is_owed_although_its_hook_is_not_called(
    runtime_pool: Pool, platform_pool: Pool
) -> None:
    found = installation(hooks=(HookDeclaration(event="sale.created"),))
    directory, feed, notes = Directory(), WebhookFeed(), Notes()
    directory.put(found)
    async with platform_pool.acquire() as connection:
        await repository.register(connection, found.id, "sale.created", "https://api.example.com/")
    await feed.refresh(runtime_pool)
    sandbox = ScriptedSandbox(raising)
    dispatcher = scripted_dispatcher(directory, runtime_pool, sandbox, notes, feed)
    sold = arrival(notes, 1)
    own = Arrival(sold.record, msgspec.structs.replace(sold.event, source=source_of(found)), notes.offsets)
    await dispatcher.dispatch([own])
    await notes.until_finished(1)
    assert sandbox.calls == []
    assert await platform_pool.fetchval("SELECT count(*) FROM webhook_delivery") == 1


async def test_a_guest_is_told_of_a_secret_that_it_has_a_value_and_no_more(runtime_pool: Pool) -> None:
    async def nothing(_: Api, __: GuestCall) -> bytes | None:
        return None

    secret = {"type": "string", "format": "secret"}
    found = installation(
        settings_schema={"properties": {"apiKey": secret, "unset": secret, "region": {"type": "string"}}},
        config={"apiKey": "sk-live-2718281828", "region": "eu"},
    )
    directory, notes, sandbox = Directory(), Notes(), ScriptedSandbox(nothing)
    directory.put(found)
    dispatcher = scripted_dispatcher(directory, runtime_pool, sandbox, notes)
    await dispatcher.dispatch([arrival(notes, 1)])
    await notes.until_finished(1)
    payload = sandbox.calls[0][0].scope.payload
    facts = msgspec.msgpack.decode(payload, type=Facts)
    assert (facts.config, facts.secrets) == ({"region": "eu"}, ("apiKey",))
    assert b"2718281828" not in payload


async def test_uninstalling_removes_webhooks_and_what_they_owe(runtime_pool: Pool, platform_pool: Pool) -> None:
    leaving = installation()
    async with platform_pool.acquire() as connection:
        await repository.register(connection, leaving.id, "sale.created", "https://api.example.com/")
    feed = WebhookFeed()
    await feed.consume(runtime_pool, [(leaving, arrival(Notes(), 1).event, None)])
    assert await platform_pool.fetchval("SELECT count(*) FROM webhook_delivery") == 1
    invocation = Invocation(leaving, "lifecycle", "onUninstall", "urn:registry", "o1", None, b"", 5.0)
    invoker = Invoker(runtime_pool, ScriptedSandbox(raising), resources(), Notes())  # type: ignore[arg-type]
    await invoker.pass_over(invocation)
    for table in ("webhook", "webhook_delivery"):
        assert await platform_pool.fetchval(f"SELECT count(*) FROM {table}") == 0  # noqa: S608
