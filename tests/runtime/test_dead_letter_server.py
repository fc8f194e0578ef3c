"""Dead letters over a real connection to a worker: what is hidden of them, and what cannot be reached."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import grpc.aio
import msgspec
import pytest

from outlet.local.network import free_port
from proto.runtime_pb2_grpc import DeadLettersServicer, add_DeadLettersServicer_to_server
from services.common.dead_letter_client import DeadLetterClient
from services.common.dead_letters import ReplayProgress, Selection, Taken
from services.common.directory import Directory
from services.common.errors import Unavailable
from services.common.worker_channels import WorkerChannels
from services.common.workers import Worker
from services.runtime.dead_letter_server import DeadLetterService
from services.runtime.delivery.dead_letter_queries import DeadLetterQueries
from tests.runtime.delivery.letters import NOON, Pool, keep, letter, states
from tests.runtime.installations import installation

ACME = Selection(organization="acme")
CHANGES: list[dict[str, Any]] = [
    {"store": "s2"},
    {"version": "2.0.0"},
    {"event": "sale.updated"},
    {"code": "plugin_exited"},
    {"message": "else"},
    {"at": NOON.replace(minute=2)},
    {"at": NOON.replace(hour=11)},
    {},
]
SEES_CUSTOMERS = ("customer:personal-data", "employee:personal-data")


@dataclass
class Asked:
    """One worker, and the client that a gateway has of it."""

    client: DeadLetterClient
    directory: Directory
    pool: Pool
    address: str


class OneWorker:
    def __init__(self, address: str) -> None:
        self._address = address

    async def live(self) -> list[Worker]:
        return [Worker(id="w", address=self._address, directory_revision=1)]


@pytest.fixture
async def asked(runtime_pool: Pool) -> AsyncIterator[Asked]:
    directory = Directory()
    server = grpc.aio.server()
    service: DeadLettersServicer = DeadLetterService(directory, DeadLetterQueries(runtime_pool))
    add_DeadLettersServicer_to_server(service, server)  # type: ignore[no-untyped-call,unused-ignore]
    address = f"127.0.0.1:{server.add_insecure_port(f'127.0.0.1:{free_port()}')}"
    await server.start()
    channels = WorkerChannels(OneWorker(address))
    try:
        yield Asked(DeadLetterClient(channels), directory, runtime_pool, address)
    finally:
        await channels.close()
        await server.stop(0)


@pytest.mark.parametrize(
    ("grants", "payload"),
    [
        (SEES_CUSTOMERS, b'{"id":"1","total":19.10,"customer":{"name":"Ada"}}'),
        ((), b'{"id":"1","total":19.10,"customer":{}}'),
    ],
)
async def test_a_payload_is_as_the_installation_may_see_it_now(
    asked: Asked, grants: tuple[str, ...], payload: bytes
) -> None:
    found = installation(grants=SEES_CUSTOMERS)
    asked.directory.put(found)
    [kept] = await keep(asked.pool, letter(found))
    asked.directory.put(msgspec.structs.replace(found, grants=grants, revision=2))
    opened = await asked.client.get("acme", None, kept)
    assert opened is not None
    assert (opened.payload, opened.stack, opened.event_time) == (payload, "Traceback ...", "2026-11-01T11:59:00Z")
    assert (opened.letter.event_id[:6], opened.letter.attempts, opened.letter.failed_at) == ("event-", 3, NOON)


async def test_of_an_installation_that_is_gone_nothing_personal_is_told(asked: Asked) -> None:
    """Not what it could see when it was there, not in its own words, not in events that nobody can look through."""
    gone = installation(grants=SEES_CUSTOMERS)
    sale, other = await keep(
        asked.pool,
        letter(gone, message="no such customer: Ada"),
        letter(gone, event="other-plugin/welcomed", data=b'{"hello":"Ada"}'),
    )
    opened = await asked.client.get("acme", None, sale)
    emitted = await asked.client.get("acme", None, other)
    assert opened is not None
    assert emitted is not None
    assert (opened.payload, opened.stack) == (b'{"id":"1","total":19.10,"customer":{}}', "")
    assert emitted.payload == b""
    assert [each.message for each in await asked.client.list(ACME, 10, None)] == ["", ""]


async def test_another_organization_learns_and_changes_nothing_with_guessed_ids(asked: Asked) -> None:
    found = installation()
    asked.directory.put(found)
    [kept] = await keep(asked.pool, letter(found))
    for organization, store in (("globex", None), ("acme", "s2"), ("", None)):
        guess = Selection(organization=organization, store=store, ids=(kept,))
        assert await asked.client.get(organization, store, kept) is None
        assert await asked.client.list(guess, 10, None) == []
        assert await asked.client.replay(guess, "r1", dry_run=True) == Taken(total=0, left=0)
        assert await asked.client.replay(guess, "r1", dry_run=False) == Taken(total=0, left=0)
        assert await asked.client.discard(guess, dry_run=False) == Taken(total=0, left=0)
        assert await asked.client.replay_progress(organization, store, "r1") is None
    assert await states(asked.pool) == {kept: "dead"}


async def test_a_filter_travels_whole_and_a_dry_run_changes_nothing(asked: Asked) -> None:
    found = installation()
    asked.directory.put(found)
    [wanted, *others] = await keep(asked.pool, letter(found), *(letter(found, **change) for change in CHANGES))
    exact = Selection(
        organization="acme",
        store="s1",
        plugin_id=found.plugin_id,
        version="1.0.0",
        installation_id=found.id,
        event_type="sale.created",
        code="plugin_raised",
        message_part="customerid",
        since=NOON,
        until=NOON.replace(minute=1),
        ids=(wanted, *others[:-1]),
    )
    assert [each.id for each in await asked.client.list(exact, 10, None)] == [wanted]
    assert await asked.client.replay(exact, "r1", dry_run=True) == Taken(total=1, left=0)
    assert await asked.client.discard(exact, dry_run=True) == Taken(total=1, left=0)
    assert set((await states(asked.pool)).values()) == {"dead"}
    assert await asked.client.replay(exact, "r1", dry_run=False) == Taken(total=1, left=0)
    assert await asked.client.replay_progress("acme", None, "r1") == ReplayProgress(
        total=1, waiting=1, succeeded=0, dead=0, discarded=0
    )
    assert (await states(asked.pool))[wanted] == "waiting"
    assert await asked.client.discard(ACME, dry_run=False) == Taken(total=len(others), left=0)


async def test_a_worker_without_its_database_passes_the_question_on(asked: Asked, runtime_dsn: str) -> None:
    pool = await asyncpg.create_pool(runtime_dsn, min_size=1, max_size=1)
    await pool.close()
    server = grpc.aio.server()
    service = DeadLetterService(asked.directory, DeadLetterQueries(pool))
    add_DeadLettersServicer_to_server(service, server)  # type: ignore[no-untyped-call,unused-ignore]
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    channels = WorkerChannels(OneWorker(address))
    with pytest.raises(Unavailable):
        await DeadLetterClient(channels).list(ACME, 10, None)
    await channels.close()
    await server.stop(0)
