"""What a plugin that is deactivated has waiting, and what it is given when it is activated again."""

from typing import Any

import pytest

from tests.registry.platform import Client
from tests.registry.topic import following
from tests.registry.worker import FAILS, FakeWorker


async def active(owner: Client, plugin_id: str) -> str:
    installed: dict[str, Any] = await owner.install(plugin_id)
    path = f"/{installed['id']}"
    assert (await owner.post(f"{path}/activate")).status_code == 200
    return path


@pytest.mark.parametrize(
    ("asked", "published", "discarded"),
    [("", "pause", False), ("?backlog=pause", "pause", False), ("?backlog=drain", "drain", False),
     ("?backlog=discard", "none", True)],
)  # fmt: skip
async def test_the_choice_reaches_the_worker_that_deactivates_and_all_others(
    asked: str,
    published: str,
    discarded: bool,
    owner: Client,
    plugin_id: str,
    worker: FakeWorker,
    registry_bootstrap: str,
) -> None:
    path = await active(owner, plugin_id)
    answer = await owner.post(f"{path}/deactivate{asked}")
    assert (answer.status_code, answer.json()["backlog"]) == (200, published)
    assert (worker.requests[-1].discard_backlog, worker.calls[-1][1].backlog) == (discarded, published)
    async with following(registry_bootstrap) as topic:
        last = await topic.until(
            lambda record: record.installation is not None and record.installation.status == "inactive"
            and record.installation.backlog == published and f"/{record.key}" == path
        )  # fmt: skip
    assert last.installation is not None
    assert last.installation.listens is (published == "pause")


@pytest.mark.parametrize(
    ("backlog", "begin_at", "discarded"),
    [("pause", "where-it-stopped", False), ("pause", "now", True), ("discard", "where-it-stopped", True)],
)
async def test_an_activation_goes_on_where_the_plugin_stopped_or_leaves_that_behind(
    backlog: str, begin_at: str, discarded: bool, owner: Client, plugin_id: str, worker: FakeWorker
) -> None:
    path = await active(owner, plugin_id)
    await owner.post(f"{path}/deactivate?backlog={backlog}")
    answer = await owner.post(f"{path}/activate?from={begin_at}")
    assert (answer.json()["status"], answer.json()["backlog"]) == ("active", "none")
    assert worker.requests[-1].discard_backlog is discarded


async def test_a_deactivation_that_reached_no_plugin_changes_nothing(
    owner: Client, plugin_id: str, worker: FakeWorker
) -> None:
    path = await active(owner, plugin_id)
    worker.behaviour = FAILS
    await owner.post(f"{path}/deactivate")
    shown = await owner.read(path[1:])
    assert (shown["status"], shown["backlog"]) == ("error", "pause")
    refused = await owner.post(f"{path}/deactivate?backlog=everything")
    assert refused.status_code == 422
