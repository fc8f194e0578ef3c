"""Ticks and jobs in a real guest."""

from typing import Any

import msgspec
import pytest

from outlet import _values
from outlet._calls import JobCall, TickCall
from services.common.runtime_client import PluginFailed
from services.runtime.sandbox import GuestCall, ScopeData
from services.runtime.sandbox.payloads import job_payload, tick_payload
from tests.runtime.sandbox.conftest import StartPlugin
from tests.runtime.sandbox.plugins import Caller, Recorder

SOURCE = """
from datetime import timedelta
from decimal import Decimal
from outlet import Job, Tick

@plugin.schedule("0 2 * * *", timezone="Europe/Berlin", missed="all")
async def nightly(api: Api, tick: Tick) -> None:
    await api.emit("ticked", {"id": tick.id, "hour": tick.planned.hour, "offset": str(tick.planned.utcoffset())})
    await api.enqueue("mail", {"total": Decimal("9.90")}, delay=timedelta(minutes=1), key="k")

@plugin.job("mail")
async def send(api: Api, job: Job) -> None:
    assert job.payload == {"total": Decimal("9.90")}
    if job.attempt == 1:
        raise RuntimeError("not yet")
    await api.emit("sent", {"id": job.id, "year": job.enqueued.year})
"""


async def call(caller: Caller, kind: Any, target: str, payload: bytes, recorder: Recorder) -> bytes:
    facts = msgspec.msgpack.encode({"organization": "acme", "store": None, "config": {}})
    given = GuestCall(kind, target, ScopeData("installation-1", 1, facts), payload)
    return await caller.pool.invoke(caller.key, given, recorder, deadline=5.0)


async def test_a_tick_and_a_job_reach_their_handlers(start_plugin: StartPlugin) -> None:
    caller = start_plugin(SOURCE)
    recorder = Recorder(lambda method, _: "job-1" if method == "jobs.enqueue" else None)
    tick = TickCall("tick-1", "nightly", "2026-07-02T02:00:00+02:00")
    assert await call(caller, "schedule", "nightly", tick_payload(tick), recorder) == b""
    assert recorder.calls[0][1]["data"] == {"id": "tick-1", "hour": 2, "offset": "2:00:00"}
    assert recorder.calls[1][0] == "jobs.enqueue"
    enqueued = recorder.calls[1][1]
    assert (enqueued["name"], enqueued["delay"], enqueued["key"]) == ("mail", 60.0, "k")
    payload = _values.encode(enqueued["payload"])

    def job(attempt: int) -> bytes:
        return job_payload(JobCall("job-1", "mail", payload, attempt, "2026-07-02T00:00:00+00:00"))

    with pytest.raises(PluginFailed, match="not yet"):
        await call(caller, "job", "mail", job(1), recorder)
    await call(caller, "job", "mail", job(2), recorder)
    assert recorder.calls[2][1]["data"] == {"id": "job-1", "year": 2026}


async def test_work_that_a_plugin_does_not_know_is_its_failure(start_plugin: StartPlugin) -> None:
    caller = start_plugin(SOURCE)
    with pytest.raises(PluginFailed, match="no schedule 'other'"):
        await call(
            caller, "schedule", "other", tick_payload(TickCall("t", "other", "2026-07-02T02:00:00Z")), Recorder()
        )
    unknown = job_payload(JobCall("j", "other", _values.encode(None), 1, "2026-07-02T00:00:00Z"))
    with pytest.raises(PluginFailed, match="no job 'other'"):
        await call(caller, "job", "other", unknown, Recorder())
