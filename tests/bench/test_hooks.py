"""The benchmark of hooks still runs what a worker runs: figures are no test's business, that there are some is."""

import pytest

from bench.hooks import hooks


@pytest.mark.timeout(180)
async def test_every_contender_gets_through_its_events() -> None:
    found = await hooks(runs=1, count=400)
    assert [(each.value > 0, (each.peer_value or 0) > 0) for each in found] == [(True, True), (True, True)]
