"""Which dead letters are found, replayed and discarded, and whose they must be."""

import asyncio
import uuid
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from services.common.dead_letters import ReplayProgress, Selection, Taken
from services.common.outbox import Message
from services.runtime.delivery import dead_letter_queries
from services.runtime.delivery.dead_letter_queries import DeadLetterQueries
from services.runtime.delivery.ledger import Ledger
from services.runtime.delivery.retries import LEASE
from services.runtime.delivery.unit_of_work import InboxKey
from tests.runtime.delivery.letters import NOON, Pool, keep, letter, states
from tests.runtime.delivery.test_retries import World, failing
from tests.runtime.installations import installation

ACME = Selection(organization="acme")
LATER = NOON + timedelta(hours=1)


@pytest.fixture
def queries(runtime_pool: Pool) -> DeadLetterQueries:
    return DeadLetterQueries(runtime_pool, now=lambda: LATER)


@pytest.mark.parametrize(
    ("asked", "changes"),
    [
        ({"plugin_id": "other-plugin"}, None),
        ({"version": "2.0.0"}, {"version": "2.0.0"}),
        ({"store": "s2"}, {"store": "s2"}),
        ({"event_type": "sale.updated"}, {"event": "sale.updated"}),
        ({"code": "plugin_timeout"}, {"code": "plugin_timeout"}),
        ({"message_part": "50% OF"}, {"message": "ValueError: 50% of nothing"}),
        ({"message_part": "_"}, {"message": "ValueError: under_score"}),
        ({"since": LATER}, {"at": LATER}),
        ({"until": NOON}, {"at": NOON - timedelta(seconds=1)}),
    ],
)
async def test_each_filter_finds_what_it_names_and_nothing_else(
    runtime_pool: Pool, queries: DeadLetterQueries, asked: dict[str, Any], changes: dict[str, Any] | None
) -> None:
    usual = installation()
    special = letter(usual, **changes) if changes else letter(installation("other-plugin"))
    _, wanted, _ = await keep(runtime_pool, letter(usual), special, letter(usual))
    found = await queries.list(replace(ACME, **asked), 10)
    assert [each.id for each in found] == [wanted]
    assert await queries.count_all(replace(ACME, **asked)) == Taken(total=1, left=0)


async def test_letters_are_listed_newest_first_page_by_page(runtime_pool: Pool, queries: DeadLetterQueries) -> None:
    found = installation()
    ids = await keep(runtime_pool, *(letter(found) for _ in range(5)))
    first = await queries.list(ACME, 2)
    assert [each.id for each in first] == [ids[4], ids[3]]
    assert [each.id for each in await queries.list(ACME, 10, first[-1].id)] == ids[2::-1]


async def test_what_is_not_dead_is_no_dead_letter(runtime_pool: Pool, queries: DeadLetterQueries) -> None:
    ids = await keep(runtime_pool, *(letter(installation()) for _ in range(3)))
    for entry, state in zip(ids, ("waiting", "succeeded", "discarded"), strict=True):
        await runtime_pool.execute("UPDATE attempt_ledger SET state = $2 WHERE id = $1", entry, state)
    assert await queries.list(ACME, 10) == []
    assert (await queries.discard(ACME)).total == 0


@pytest.mark.parametrize("place", [Selection(organization="globex"), Selection(organization="acme", store="s2")])
async def test_letters_of_others_are_out_of_reach_whatever_is_named(
    runtime_pool: Pool, queries: DeadLetterQueries, place: Selection
) -> None:
    found = installation()
    [theirs] = await keep(runtime_pool, letter(found, store="s1"))
    for asked in (place, replace(place, ids=(theirs,)), replace(place, ids=(theirs,), installation_id=found.id)):
        assert await queries.list(asked, 10) == []
        assert await queries.get(asked) is None
        assert await queries.count(asked, [found.id]) == Taken(total=0, left=0)
        assert (await queries.replay(asked, [found.id], "r1")).total == 0
        assert (await queries.discard(asked)).total == 0
    assert await states(runtime_pool) == {theirs: "dead"}
    await queries.replay(replace(ACME, ids=(theirs,)), [found.id], "r2")
    assert (await queries.progress(place.organization, place.store, "r2")).total == 0
    assert (await queries.progress("acme", None, "r2")).total == 1


async def test_replay_makes_letters_due_again_as_if_never_tried_and_keeps_their_error(
    runtime_pool: Pool, queries: DeadLetterQueries
) -> None:
    found = installation()
    one, other = await keep(runtime_pool, letter(found), letter(found))
    assert await queries.replay(replace(ACME, ids=(one,)), [found.id], "r1") == Taken(total=1, left=0)
    row = await runtime_pool.fetchrow("SELECT * FROM attempt_ledger WHERE id = $1", one)
    assert (row["state"], row["attempts"], row["due_at"], row["finished_at"]) == ("waiting", 0, LATER, None)
    assert (row["code"], row["replay_id"]) == ("plugin_raised", "r1")
    assert await states(runtime_pool) == {one: "waiting", other: "dead"}
    expected = ReplayProgress(total=1, waiting=1, succeeded=0, dead=0, discarded=0)
    assert await queries.progress("acme", None, "r1") == expected


async def test_letters_of_an_installation_that_is_gone_are_not_replayed_but_counted(
    runtime_pool: Pool, queries: DeadLetterQueries
) -> None:
    here, gone = installation(), installation("gone")
    await keep(runtime_pool, letter(here), letter(gone), letter(gone))
    expected = Taken(total=1, left=0, gone=2)
    assert await queries.count(ACME, [here.id]) == expected
    assert await queries.replay(ACME, [here.id], "r1") == expected
    assert await queries.discard(ACME) == Taken(total=2, left=0)


async def test_many_letters_are_taken_in_batches_up_to_the_most_and_the_rest_is_left(
    runtime_pool: Pool, queries: DeadLetterQueries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letter_queries, "BATCH", 3)
    monkeypatch.setattr(dead_letter_queries, "MOST_AT_ONCE", 6)
    found = installation()
    ids = await keep(runtime_pool, *(letter(found) for _ in range(10)))
    assert await queries.count(ACME, [found.id]) == Taken(total=6, left=4)
    assert await queries.replay(ACME, [found.id], "r1") == Taken(total=6, left=4)
    assert [each for each, state in (await states(runtime_pool)).items() if state == "waiting"] == ids[:6]
    assert await queries.replay(ACME, [found.id], "r1") == Taken(total=4, left=0)
    assert (await queries.progress("acme", None, "r1")).total == 10


async def test_a_letter_that_dies_again_is_not_taken_twice_by_one_replay(
    runtime_pool: Pool, queries: DeadLetterQueries
) -> None:
    found = installation()
    await keep(runtime_pool, letter(found))
    assert (await queries.replay(ACME, [found.id], "r1")).total == 1
    await runtime_pool.execute("UPDATE attempt_ledger SET state = 'dead'")
    assert await queries.replay(ACME, [found.id], "r1") == Taken(total=0, left=0)
    assert (await queries.replay(ACME, [found.id], "r2")).total == 1


async def test_two_replays_at_once_share_the_letters(runtime_pool: Pool, queries: DeadLetterQueries) -> None:
    found = installation()
    await keep(runtime_pool, *(letter(found) for _ in range(50)))
    taken = await asyncio.gather(*(queries.replay(ACME, [found.id], f"r{number}") for number in range(4)))
    assert sum(each.total for each in taken) == 50


@pytest.fixture
def world(runtime_pool: Pool) -> World:
    return World(runtime_pool)


async def test_replayed_letters_run_their_plugin_alone_in_order_and_their_progress_reaches_the_total(
    world: World,
) -> None:
    found = world.install(ordered=True, attempts=1)
    neighbour = installation("neighbour")
    world.directory.put(neighbour)
    data = [b'{"id":"1","number":%d}' % number for number in range(4)]
    await keep(world.pool, *(letter(found, ordered=True, attempts=1, data=each) for each in data))
    await keep(world.pool, letter(neighbour))
    queries = DeadLetterQueries(world.pool, now=world.clock)
    script, done = failing(2)
    worker = world.worker(script)
    asked = replace(ACME, plugin_id=found.plugin_id)
    await queries.replay(asked, [found.id, neighbour.id], "r1")
    await worker.until(world.in_states("succeeded", "succeeded", "dead", "succeeded", "dead"))
    assert done == [0, 1, 3]
    assert await queries.progress("acme", None, "r1") == ReplayProgress(
        total=4, waiting=0, succeeded=3, dead=1, discarded=0
    )


async def test_a_letter_whose_effect_a_late_worker_committed_has_no_second_one(world: World) -> None:
    """The worker was thought lost, so its event died; then it woke up and committed: before the replay, or after."""
    found = world.install(attempts=1)
    before = letter(found, data=b'{"id":"1","number":1}')
    after = letter(found, data=b'{"id":"1","number":2}')
    await keep(world.pool, before, after)
    queries = DeadLetterQueries(world.pool, now=world.clock)
    await commit_late(world.pool, before.key)
    await queries.replay(ACME, [found.id], "r1")
    assert await queries.progress("acme", None, "r1") == ReplayProgress(
        total=2, waiting=2, succeeded=0, dead=0, discarded=0
    )
    await commit_late(world.pool, after.key)
    script, done = failing()
    await world.worker(script).until(world.in_states("succeeded", "succeeded"))
    assert done == []
    assert await world.pool.fetchval("SELECT count(*) FROM outbox") == 0


async def commit_late(pool: Pool, key: InboxKey) -> None:
    await pool.execute("INSERT INTO inbox VALUES ($1, $2, $3, $4)", *key.row())


async def test_a_zombie_that_failed_long_ago_does_not_kill_a_replayed_letter(world: World) -> None:
    found = world.install()
    await keep(world.pool, letter(found))
    queries = DeadLetterQueries(world.pool, now=world.clock)
    await queries.replay(ACME, [found.id], "r1")
    zombie = Ledger(world.pool, "zombie")
    [entry] = await zombie.lease([found.id], world.clock.now, world.clock.now + LEASE, 1)
    await world.pool.execute("UPDATE attempt_ledger SET state = 'dead'")
    await queries.replay(ACME, [found.id], uuid.uuid4().hex)
    failure = letter(found).failure
    assert failure is not None
    message = Message("t", b"k", None, ())
    assert not await zombie.bury(entry, "1.0.0", failure, message)
    assert [state for _, state, _ in await world.states()] == ["waiting"]
