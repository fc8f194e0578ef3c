"""What a worker reports: per hook and store, in time for a worker that runs many thousand hooks a second."""

import timeit
from typing import Any

import pytest

from outlet.manifest import RouteDeclaration
from services.common.latency import bucket_of
from services.common.reports import ExecutionSummary, decode_summary
from services.common.runtime_client import PACKAGE_UNTRUSTED, PlatformRefusal, PluginFailed
from services.runtime.reporting import HOOKS_PER_SUMMARY, Reporter
from tests.runtime.installations import installation

FAILURE = PluginFailed("plugin_raised", "no", "Traceback")


class Producer:
    """Keeps what is published."""

    def __init__(self) -> None:
        self.summaries: list[ExecutionSummary] = []

    async def send(self, topic: str, *, key: bytes, value: bytes) -> None:
        summary = decode_summary(value)
        assert (topic, key.decode()) == ("outlet.executions", summary.installation_id)
        self.summaries.append(summary)


@pytest.fixture
def producer() -> Producer:
    return Producer()


@pytest.fixture
def reporter(producer: Any) -> Reporter:
    return Reporter(producer, "w1")


async def test_runs_errors_and_latency_are_counted_by_hook_and_store(reporter: Reporter, producer: Producer) -> None:
    found = installation(revision=7)
    reporter.hook_ran(found, "sale.created", "s1", 0.002, 3)
    reporter.hook_ran(found, "sale.created", "s1", 0.5)
    reporter.hook_ran(found, "sale.created", "s2", 0.002)
    reporter.hook_ran(found, "schedule nightly", None, 4.0)
    reporter.failed(found, "sale.created", FAILURE, "e1", "s1")
    reporter.retried(found, "sale.created", "s1", failed=True)
    reporter.retried(found, "sale.created", "s1", failed=False)
    reporter.api_called(found)
    await reporter.flush()
    (summary,) = producer.summaries
    assert (summary.hook_runs, summary.hook_errors, summary.route_calls, summary.api_calls) == (6, 1, 0, 1)
    assert summary.revision == 7
    hooks = {(hook.hook, hook.store): hook for hook in summary.hooks}
    assert {key: (hook.runs, hook.errors) for key, hook in hooks.items()} == {
        ("sale.created", "s1"): (4, 1),
        ("sale.created", "s2"): (1, 0),
        ("schedule nightly", "*"): (1, 0),
    }
    assert (hooks["sale.created", "s1"].retries, hooks["sale.created", "s1"].failed_retries) == (2, 1)
    assert hooks["sale.created", "s1"].latency == {bucket_of(0.002): 3, bucket_of(0.5): 1}
    assert [error.event_id for error in summary.errors] == ["e1"]
    await reporter.flush()
    assert len(producer.summaries) == 1


async def test_routes_are_counted_as_declared_whatever_paths_are_asked_for(
    reporter: Reporter, producer: Producer
) -> None:
    found = installation(
        routes=(
            RouteDeclaration(method="GET", path="/points/{customer_id}"),
            RouteDeclaration(method="GET", path="/points/all"),
        )
    )
    for path in ("/points/c-1", "/points/c-2", "/points/all", "/a", "/b"):
        reporter.route_called(found, f"GET {path}", "s1", 0.1)
    reporter.failed(found, "GET /points/c-1", FAILURE, store="s1")
    await reporter.flush()
    (summary,) = producer.summaries
    assert {hook.hook: (hook.runs, hook.errors) for hook in summary.hooks} == {
        "GET /points/{customer_id}": (2, 1),
        "GET /points/all": (1, 0),
        "ANY /*": (2, 0),
    }
    assert (summary.hook_runs, summary.route_calls, summary.errors[0].during) == (0, 5, "GET /points/c-1")


async def test_runs_of_two_states_of_an_installation_are_told_apart(reporter: Reporter, producer: Producer) -> None:
    before = installation(revision=1)
    after = type(before)(**{name: getattr(before, name) for name in before.__struct_fields__} | {"revision": 2})
    for found in (before, after, after):
        reporter.hook_ran(found, "sale.created", "s1", 0.1)
    await reporter.flush()
    assert [(summary.revision, summary.hook_runs) for summary in producer.summaries] == [(1, 1), (2, 2)]
    first, second = producer.summaries
    assert (first.worker_id, first.sequence + 1) == (second.worker_id, second.sequence)


async def test_many_stores_are_told_in_several_summaries_that_add_up(reporter: Reporter, producer: Producer) -> None:
    found = installation()
    for number in range(HOOKS_PER_SUMMARY * 2 + 1):
        reporter.hook_ran(found, "sale.created", f"s{number}", 0.1)
    reporter.api_called(found)
    await reporter.flush()
    assert [len(summary.hooks) for summary in producer.summaries] == [HOOKS_PER_SUMMARY, HOOKS_PER_SUMMARY, 1]
    assert sum(summary.hook_runs for summary in producer.summaries) == HOOKS_PER_SUMMARY * 2 + 1
    assert sum(summary.api_calls for summary in producer.summaries) == 1


def test_counting_a_run_leaves_the_time_for_running_it(reporter: Reporter) -> None:
    """Of a second with 60,000 runs, counting may take a fifth at the most (measured: 0.07 s)."""
    found = installation()

    def count() -> None:
        reporter.hook_ran(found, "sale.created", "s1", 0.0004)

    assert min(timeit.repeat(count, number=60_000, repeat=5)) < 0.2


async def test_what_the_platform_refuses_to_run_is_told_as_its_own_failure(
    reporter: Reporter, producer: Producer
) -> None:
    reporter.failed(installation(), "sale.created", PlatformRefusal(PACKAGE_UNTRUSTED, "another package"), "e1", "s1")
    await reporter.flush()
    (summary,) = producer.summaries
    assert [(error.code, error.source) for error in summary.errors] == [("package_untrusted", "platform")]
    assert reporter.totals.failures["package_untrusted"] == 1
