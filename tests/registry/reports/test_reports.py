"""Execution summaries become statistics and errors, each summary once."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import uuid4

import pytest

from services.common.reports import encode_summary
from tests.registry.platform import Client, running_registry
from tests.registry.summaries import counted, error, produce, summary
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
        encode_summary(summary(installation_id, 3, hook_runs=1)),
    )
    assert (await counted(owner, installation_id, 1))["hookRuns"] == 1


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
