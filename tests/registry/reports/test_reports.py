"""Execution summaries become statistics and errors, each summary once."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import uuid4

import pytest

from services.common.insights import HookStatistics, Statistics, WindowStatistics, encode
from services.common.reports import encode_summary
from services.common.topics import STATISTICS
from tests.registry.platform import Client, running_registry
from tests.registry.summaries import counted, error, hook, produce, shown, summary
from tests.registry.worker import FakeWorker


async def test_summaries_are_added_up_and_repetitions_are_not(
    owner: Client, plugin_id: str, worker: FakeWorker, registry_bootstrap: str
) -> None:
    installation_id = (await owner.install(plugin_id))["id"]
    first = summary(installation_id, 1, hook_runs=10, hook_errors=1, api_calls=20, route_calls=3, errors=(error(1),))
    second = summary(installation_id, 2, hook_runs=5, last_used="2026-02-01T09:00:00Z")
    other = summary(installation_id, 1, hook_runs=2, worker_id="w2", api_calls=1)
    last = summary(installation_id, 3, hook_runs=100)
    sent = [first, first, second, first, second, other, other, last]
    await produce(registry_bootstrap, *map(encode_summary, sent))
    stats = await counted(owner, installation_id, 117)
    assert (stats["hookRuns"], stats["apiCalls"], stats["routeCalls"], stats["errors"]) == (117, 21, 3, 1)
    assert stats["lastUsed"] == "2026-02-01T10:00:00Z"
    (kept,) = stats["lastErrors"]
    assert (kept["message"], kept["during"], kept["source"]) == (
        "error 1\N{REPLACEMENT CHARACTER}",
        "sale.created",
        "plugin",
    )
    assert kept["stack"] == "Traceback"


async def test_the_newest_fifty_errors_are_kept(
    owner: Client, plugin_id: str, worker: FakeWorker, registry_bootstrap: str
) -> None:
    installation_id = (await owner.install(plugin_id))["id"]
    summaries = [
        summary(installation_id, number, hook_runs=1, hook_errors=1, errors=(error(number),)) for number in range(1, 61)
    ]
    await produce(registry_bootstrap, *map(encode_summary, summaries))
    stats = await counted(owner, installation_id, 60)
    numbers = [int(kept["message"].split()[1].rstrip("\N{REPLACEMENT CHARACTER}")) for kept in stats["lastErrors"]]
    assert numbers == list(range(60, 10, -1))
    assert stats["errors"] == 60
    assert len((await owner.read(installation_id))["errors"]) == 50


async def test_what_cannot_be_counted_does_not_stop_what_follows(
    owner: Client, plugin_id: str, worker: FakeWorker, registry_bootstrap: str
) -> None:
    installation_id = (await owner.install(plugin_id))["id"]
    await produce(
        registry_bootstrap,
        b"rubbish",
        b"{}",
        encode_summary(summary("no-uuid", 1)),
        encode_summary(summary(str(uuid4()), 1, hook_runs=1, errors=(error(1),))),
        encode_summary(summary(installation_id, 1, last_used="yesterday")),
        b"null",
        encode_summary(summary(installation_id, 1, hook_runs=1, hooks=(hook(1, name="a\0b"),))),
        encode_summary(summary(installation_id, 1, hook_runs=1, hooks=(hook(1),))).replace(
            b'"latency":{"', b'"latency":{"9'
        ),
        encode_summary(summary(installation_id, 3, hook_runs=1)),
    )
    assert (await counted(owner, installation_id, 1))["hookRuns"] == 1


async def test_usage_is_told_by_hook_and_store_with_latency(
    owner: Client, plugin_id: str, worker: FakeWorker, registry_bootstrap: str
) -> None:
    installation_id = (await owner.install(plugin_id))["id"]
    fast, slow = hook(98, 1, store="s1", seconds=0.001), hook(2, 2, store="s2", seconds=1.0)
    ticks = hook(1, name="schedule nightly", store="*", seconds=60.0)
    route = hook(50, name="GET /points/{customer_id}", store="s1", seconds=5.0)
    sent = [
        summary(installation_id, 1, hook_runs=99, hook_errors=1, route_calls=50, hooks=(fast, ticks, route)),
        summary(installation_id, 2, hook_runs=2, hook_errors=2, hooks=(slow,), last_used="2026-02-02T10:00:00Z"),
        summary(installation_id, 1, hook_runs=98, hooks=(fast,), worker_id="w2"),
    ]
    await produce(registry_bootstrap, *map(encode_summary, [*sent, *sent]))
    stats = await counted(owner, installation_id, 199)
    told = {(each["hook"], each["storeId"]): each for each in stats["hooks"]}
    assert {key: (each["runs"], each["errors"]) for key, each in told.items()} == {
        ("sale.created", "s1"): (196, 2),
        ("sale.created", "s2"): (2, 2),
        ("schedule nightly", None): (1, 0),
        ("GET /points/{customer_id}", "s1"): (50, 0),
    }
    assert stats["hooks"][0]["runs"] == 196
    assert told["sale.created", "s1"]["p99Ms"] == pytest.approx(1, rel=0.1)
    assert told["sale.created", "s2"]["lastUsed"] == "2026-02-02T10:00:00Z"
    assert stats["p50Ms"] == pytest.approx(1, rel=0.1)
    assert stats["p99Ms"] == pytest.approx(1_000, rel=0.1)  # without the routes, which took five seconds
    assert stats["recent"] is None


async def test_the_newest_of_what_insights_tells_is_shown(
    owner: Client, plugin_id: str, worker: FakeWorker, registry_bootstrap: str
) -> None:
    installation_id = (await owner.install(plugin_id))["id"]

    def told(at: str, runs: int, installation: str = installation_id) -> bytes:
        window = WindowStatistics(runs=runs, errors=1, p50_ms=2.5, p95_ms=4.0, p99_ms=8.0)
        each = HookStatistics(hook="sale.created", store="*", runs=runs, errors=1)
        statistics = Statistics(
            installation_id=installation,
            at=at,
            seconds=60,
            total=window,
            recent_seconds=10,
            recent=window,
            hooks=(each,),
        )
        return encode(statistics)

    await produce(
        registry_bootstrap,
        b"rubbish",
        told("yesterday", 5),
        told("2026-02-01T10:00:00Z", 5, "no-uuid"),
        told("2026-02-01T10:00:00Z", 5, str(uuid4())),
        told("2026-02-01T10:00:05Z", 4),
        told("2026-02-01T10:00:00Z", 3),
        topic=STATISTICS.name,
    )
    recent = await shown(owner, installation_id, 4)
    assert (recent["at"], recent["seconds"], recent["errorRate"]) == ("2026-02-01T10:00:05Z", 60, 0.25)
    assert (recent["p50Ms"], recent["p95Ms"], recent["p99Ms"]) == (2.5, 4, 8)
    assert (recent["latest"]["seconds"], recent["latest"]["runs"]) == (10, 4)
    assert [(each["hook"], each["storeId"], each["p50Ms"]) for each in recent["hooks"]] == [
        ("sale.created", None, None)
    ]
    await produce(
        registry_bootstrap, told("2026-02-01T10:00:04Z", 9), told("2026-02-01T10:01:05Z", 0), topic=STATISTICS.name
    )
    assert (await shown(owner, installation_id, 0))["errorRate"] == 0


@pytest.mark.timeout(60)
async def test_summaries_sent_while_the_registry_is_down_are_counted_when_it_is_back(
    database: Callable[[str], Awaitable[str]],
    workers_url: str,
    worker: FakeWorker,
    kafka_brokers: list[str],
    tmp_path: Path,
) -> None:
    dsn, bootstrap = await database("reports"), kafka_brokers[0]
    async with running_registry(dsn, workers_url, bootstrap, tmp_path / "keys") as registry:
        owner = registry.caller("owner")
        installation_id = (await owner.install(await registry.publish()))["id"]
        await produce(bootstrap, encode_summary(summary(installation_id, 1, hook_runs=1)))
        await counted(owner, installation_id, 1)
    await produce(bootstrap, encode_summary(summary(installation_id, 2, hook_runs=2)))
    async with running_registry(dsn, workers_url, bootstrap, tmp_path / "keys") as registry:
        again = registry.caller("owner", owner.organization)
        assert (await counted(again, installation_id, 3))["hookRuns"] == 3
