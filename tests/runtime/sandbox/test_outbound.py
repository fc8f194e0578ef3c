"""Fetching and webhooks from within a real guest: through its walls, its frames and the host's checks."""

import uuid
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from outlet.manifest import Host
from services.runtime.invocation import Invocation
from services.runtime.invoker import guest_call
from services.runtime.outbound.guard import Guard
from services.runtime.plugin_api.groups import Context
from services.runtime.plugin_api.session import PluginApiSession
from services.runtime.sandbox import RouteRequest, read_route_result, route_payload
from tests.runtime.installations import installation
from tests.runtime.outbound.receiver import answer, receiving
from tests.runtime.resources import fetcher, resources
from tests.runtime.sandbox.conftest import StartPlugin

SOURCE = """
@plugin.route("POST", "/fetch")
async def fetch(api: Api, request: Request) -> dict:
    headers = {"Authorization": f"Bearer {api.get_config('apiKey')}"}
    response = await api.fetch(request.json()["url"], headers=headers)
    try:
        await api.fetch("https://169.254.169.254/latest/meta-data")
    except ApiError as error:
        refused = error.code
    body, key = response.body, repr(api.get_config("apiKey"))
    return {"bytes": len(body), "last": body[-1], "refused": refused, "key": key}
"""


@dataclass
class NoWork:
    opened: bool = False

    async def before_effect_outside(self) -> None:
        return None


@pytest.mark.timeout(60)
async def test_a_guest_fetches_what_is_larger_than_a_frame_and_never_sees_its_secret(start_plugin: StartPlugin) -> None:
    caller = start_plugin(SOURCE)
    found = installation(
        hosts=(Host(name="api.example.com", purpose="to test"),),
        settings_schema={"properties": {"apiKey": {"type": "string", "format": "secret"}}},
        config={"apiKey": "sk-live-2718281828"},
    )
    found = msgspec.structs.replace(found, grants=("host:api.example.com",))
    async with receiving() as receiver:
        receiver.answer = answer(200, b"0" * 1024 * 1023 + b"1")
        body = msgspec.json.encode({"url": receiver.url()})
        payload = route_payload(RouteRequest("POST", "/fetch", "", [], body, "u", None, "owner"))
        invocation = Invocation(found, "route", "POST /fetch", "urn:gateway", uuid.uuid4().hex, None, payload, 10.0)
        held = resources(fetcher=fetcher(Guard(loopback=True), "127.0.0.1"))
        work: Any = NoWork()
        session = PluginApiSession(Context(invocation, work, held))
        call = guest_call(invocation)
        assert b"2718281828" not in call.scope.payload
        result = read_route_result(await caller.pool.invoke(caller.key, call, session, deadline=10.0))
    answered = msgspec.json.decode(result.body)
    assert answered == {
        "bytes": 1024 * 1023 + 1,
        "last": ord("1"),
        "refused": "host_not_declared",
        "key": "Secret(name='apiKey')",
    }
    assert receiver.requests[0].headers["authorization"] == "Bearer sk-live-2718281828"
