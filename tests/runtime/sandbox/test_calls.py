"""What a well-behaved plugin gets and gives."""

import asyncio
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from services.common.runtime_client import PluginFailed
from services.runtime.plugin_api.errors import ApiRefusal
from tests.runtime.sandbox.conftest import StartPlugin
from tests.runtime.sandbox.plugins import Recorder


async def test_a_hook_sees_its_event_with_exact_numbers(start_plugin: StartPlugin) -> None:
    caller = start_plugin("""
        @plugin.hook("sale.created")
        async def seen(api: Api, event: Event) -> None:
            await api.emit("seen", {
                "envelope": [event.id, event.type, event.source, event.organization, event.store],
                "time": event.time, "sum": event.data["a"] + event.data["b"],
            })
    """)
    api = Recorder()
    assert await caller.hook({"a": 0.1, "b": 0.2}, api=api) == b""
    assert api.calls == [
        (
            "events.emit",
            {
                "event": "seen",
                "data": {
                    "envelope": ["event-1", "sale.created", "pos", "acme", "store-1"],
                    "time": datetime(2026, 3, 1, 10, tzinfo=UTC),
                    "sum": Decimal("0.3"),
                },
            },
        )
    ]


async def test_rows_keep_decimals_and_moments_both_ways(start_plugin: StartPlugin) -> None:
    caller = start_plugin("""
        @plugin.hook("sale.created")
        async def double(api: Api, event: Event) -> None:
            row = await api.table("sums").find_by_id("r-1")
            await api.table("sums").update({"id": "r-1"}, {"amount": row["amount"] * 2, "at": row["at"]})
    """)
    at = datetime(2026, 3, 1, 12, 30, 0, 123456, tzinfo=UTC)

    def answer(method: str, arguments: dict[str, Any]) -> Any:
        return [{"id": "r-1", "amount": Decimal("10.10"), "at": at}] if method == "tables.find" else []

    api = Recorder(answer)
    await caller.hook(api=api)
    assert api.calls == [
        ("tables.find", {"table": "sums", "where": {"id": "r-1"}, "sort": [], "limit": 1}),
        (
            "tables.update",
            {
                "table": "sums",
                "where": {"id": "r-1"},
                "values": {"amount": Decimal("20.20"), "at": at},
                "increment": {},
            },
        ),
    ]


async def test_a_route_gets_its_request_and_answers_json(start_plugin: StartPlugin) -> None:
    caller = start_plugin("""
        @plugin.route("POST", "/points/{customer_id}/redeem")
        async def redeem(api: Api, request: Request) -> dict:
            caller = request.caller
            return {"params": request.params, "query": request.query, "body": request.json(),
                    "headers": request.headers, "caller": [caller.subject, caller.role, caller.store],
                    "amount": request.json()["n"] * 3}
    """)
    result = await caller.route("POST", "/points/c%2F1/redeem", query="a=1&a=2&b=", body=b'{"n": 0.1}')
    assert result.status == 200
    assert result.headers == [("content-type", "application/json")]
    assert json.loads(result.body) == {
        "params": {"customer_id": "c/1"},
        "query": {"a": "2", "b": ""},
        "body": {"n": "0.1"},
        "headers": {"content-type": "application/json"},
        "caller": ["user-1", "cashier", "store-1"],
        "amount": "0.3",
    }


async def test_a_response_keeps_its_status_headers_and_bytes(start_plugin: StartPlugin) -> None:
    caller = start_plugin("""
        @plugin.route("GET", "/receipt")
        async def receipt() -> Response:
            return Response(b"%PDF", 201, {"Content-Type": "application/pdf", "X-Pages": "1"})
    """)
    result = await caller.route("GET", "/receipt")
    assert (result.status, result.body) == (201, b"%PDF")
    assert result.headers == [("content-type", "application/pdf"), ("x-pages", "1")]


async def test_a_problem_is_a_response_whose_effects_are_undone(start_plugin: StartPlugin) -> None:
    caller = start_plugin("""
        @plugin.route("POST", "/redeem")
        async def redeem() -> dict:
            raise Problem(409, "insufficient_points", "Only 3 points are left.")
    """)
    result = await caller.route("POST", "/redeem")
    assert (result.status, result.undo) == (409, True)
    assert result.headers == [("content-type", "application/problem+json")]
    assert json.loads(result.body) == {
        "type": "urn:outlet:problem:insufficient_points",
        "title": "Conflict",
        "status": 409,
        "detail": "Only 3 points are left.",
        "code": "insufficient_points",
        "source": "plugin",
    }


async def test_requests_that_no_route_takes_are_refused(start_plugin: StartPlugin) -> None:
    caller = start_plugin("""
        @plugin.route("GET", "/points/{customer_id}")
        async def points() -> dict:
            return {}

        @plugin.route("PUT", "/points/{customer_id}")
        async def change(api: Api, request: Request) -> dict:
            return request.json()
    """)
    missing = await caller.route("GET", "/nowhere")
    assert (missing.status, json.loads(missing.body)["code"]) == (404, "route_not_found")
    wrong = await caller.route("DELETE", "/points/1")
    assert (wrong.status, json.loads(wrong.body)["code"]) == (405, "method_not_allowed")
    assert ("allow", "GET, PUT") in wrong.headers
    unreadable = await caller.route("PUT", "/points/1", body=b"{")
    assert (unreadable.status, json.loads(unreadable.body)["code"]) == (400, "invalid_json")


async def test_lifecycle_hooks_run_and_undeclared_ones_succeed(start_plugin: StartPlugin) -> None:
    caller = start_plugin("""
        @plugin.on_install
        async def install(api: Api) -> None:
            await api.create_table("accounts", {"points": column.integer(default=0)}, unique=[["points"]])
            await api.set_config("rate", 2)
            api.log("info", f"rate is {api.get_config('rate')}", table="accounts")
    """)
    api = Recorder()
    await caller.lifecycle("onInstall", api=api)
    definition = {
        "columns": {"points": {"type": "integer", "nullable": False, "default": 0}},
        "unique": [["points"]],
        "indexes": [],
    }
    assert api.calls == [
        ("tables.define", {"name": "accounts", "definition": definition}),
        ("config.set", {"key": "rate", "value": 2}),
        ("log", {"level": "info", "message": "rate is 2", "meta": {"table": "accounts"}}),
    ]
    assert await caller.lifecycle("onUninstall") == b""


async def test_each_call_sees_the_settings_of_its_own_revision_installation_and_store(
    start_plugin: StartPlugin,
) -> None:
    caller = start_plugin("""
        @plugin.route("GET", "/rate")
        async def rate(api: Api) -> dict:
            before = api.get_config("rate")
            await api.emit("wait", {})
            return {"before": before, "after": api.get_config("rate"), "exact": api.get_config("exact", 0) * 3}
    """)
    arrived, gate = asyncio.Semaphore(0), asyncio.Event()

    async def slow(method: str, arguments: dict[str, Any]) -> None:
        arrived.release()
        await gate.wait()

    async def call_with(
        config: dict[str, Any], revision: int, installation: str, variant: str = ""
    ) -> asyncio.Task[Any]:
        caller.config, caller.revision, caller.installation, caller.variant = config, revision, installation, variant
        task = asyncio.create_task(caller.route("GET", "/rate", api=slow))
        await arrived.acquire()
        return task

    calls = [
        await call_with({"rate": 1}, 1, "installation-1"),
        await call_with({"rate": 2, "exact": 0.1}, 2, "installation-1"),
        await call_with({"rate": 3}, 1, "installation-2"),
        await call_with({"rate": 4}, 1, "installation-2", "store:s1"),
        await call_with({"rate": 3}, 1, "installation-2"),
    ]
    gate.set()
    assert [json.loads(result.body) for result in await asyncio.gather(*calls)] == [
        {"before": 1, "after": 1, "exact": 0},
        {"before": 2, "after": 2, "exact": "0.3"},
        {"before": 3, "after": 3, "exact": 0},
        {"before": 4, "after": 4, "exact": 0},
        {"before": 3, "after": 3, "exact": 0},
    ]
    assert len(caller.pool) == 1


async def test_calls_run_at_the_same_time_up_to_the_limit(start_plugin: StartPlugin) -> None:
    caller = start_plugin(
        """
        @plugin.hook("sale.created")
        async def wait(api: Api) -> None:
            await api.emit("arrived", {})
        """,
        concurrency=4,
    )
    arrived = 0
    most = 0

    async def meet(method: str, arguments: dict[str, Any]) -> None:
        nonlocal arrived, most
        arrived += 1
        most = max(most, arrived)
        await asyncio.sleep(0.01)
        arrived -= 1

    await asyncio.gather(*(caller.hook(api=meet) for _ in range(20)))
    assert most == 4


async def test_api_calls_of_one_handler_may_run_together_however_many(start_plugin: StartPlugin) -> None:
    caller = start_plugin("""
        @plugin.hook("sale.created")
        async def many(api: Api) -> None:
            await asyncio.gather(*(api.emit("n", {"n": n}) for n in range(300)))
    """)
    api = Recorder()
    await caller.hook(api=api)
    assert sorted(arguments["data"]["n"] for _, arguments in api.calls) == list(range(300))


async def test_a_refused_api_call_can_be_caught_by_its_code(start_plugin: StartPlugin) -> None:
    caller = start_plugin("""
        @plugin.route("GET", "/try")
        async def attempt(api: Api) -> dict:
            try:
                await api.table("t").create({"a": 1})
            except ApiError as error:
                return {"code": error.code, "message": error.message}
    """)

    def refuse(method: str, arguments: dict[str, Any]) -> None:
        raise ApiRefusal("unique_violation", "it exists")

    result = await caller.route("GET", "/try", api=Recorder(refuse))
    assert json.loads(result.body) == {"code": "unique_violation", "message": "it exists"}


async def test_what_cannot_be_sent_is_refused_in_the_plugin(start_plugin: StartPlugin) -> None:
    caller = start_plugin("""
        from datetime import datetime
        from decimal import Decimal

        @plugin.route("GET", "/codes")
        async def codes(api: Api) -> dict:
            found = []
            for value in (object(), datetime.now(), Decimal("NaN"), 2**70, "x" * 300_000, "\\ud800"):
                try:
                    await api.emit("e", {"value": value})
                except ApiError as error:
                    found.append(error.code)
            return {"codes": found}
    """)
    api = Recorder()
    result = await caller.route("GET", "/codes", api=api)
    assert json.loads(result.body)["codes"] == [*["invalid_argument"] * 4, "too_large", "invalid_argument"]
    assert api.calls == []


@pytest.mark.parametrize("size", [10, 300_000, 1_000_000])
async def test_payloads_larger_than_a_frame_travel_in_parts(start_plugin: StartPlugin, size: int) -> None:
    caller = start_plugin("""
        @plugin.route("POST", "/echo")
        async def echo(api: Api, request: Request) -> Response:
            return Response(request.body)
    """)
    bodies = [bytes([number]) * size for number in range(3)]
    results = await asyncio.gather(*(caller.route("POST", "/echo", body=body) for body in bodies))
    assert [result.body for result in results] == bodies


async def test_many_large_payloads_share_a_stream(start_plugin: StartPlugin) -> None:
    caller = start_plugin("""
        @plugin.route("POST", "/echo")
        async def echo(api: Api, request: Request) -> Response:
            await api.emit("kept", {"body": request.body})
            return Response(request.body)
    """)
    body = b"x" * 100_000
    api = Recorder()
    results = await asyncio.gather(*(caller.route("POST", "/echo", body=body, api=api) for _ in range(30)))
    assert {result.body for result in results} == {body}
    assert len(api.calls) == 30


async def test_an_event_that_cannot_be_read_is_not_blamed_on_the_plugins_code(start_plugin: StartPlugin) -> None:
    caller = start_plugin("""
        @plugin.hook("sale.created")
        async def seen() -> None: ...
    """)
    with pytest.raises(PluginFailed) as raised:
        await caller.hook(data="\ud800")
    assert raised.value.code == "invalid_event"


async def test_organizations_never_share_a_process(start_plugin: StartPlugin) -> None:
    caller = start_plugin("""
        @plugin.route("GET", "/pid")
        async def pid() -> dict:
            return {"pid": os.getpid()}
    """)
    pids = set()
    for organization in ("acme", "acme", "globex"):
        caller.key = type(caller.key)(organization, caller.key.plugin_id, caller.key.digest)
        pids.add(json.loads((await caller.route("GET", "/pid")).body)["pid"])
    assert len(pids) == 2
