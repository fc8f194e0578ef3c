"""Input that the platform must refuse: a problem with a stable code, and nothing of it stored anywhere."""

import base64
import json
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from outlet.local import scenario
from outlet.local.client import GatewayClient
from outlet.local.issuer import Issuer
from outlet.local.stack import Stack
from outlet.local.waiting import until_consumed
from outlet.package import Package
from outlet.samples.records import Position
from services.common.topics import CATALOGUE, EXECUTIONS, OTHER_EVENTS, STATISTICS
from tests.e2e.support import Caller, assert_problem, committed_hooks, environment
from tests.e2e.topics import end_offsets, read_topic

ORGANIZATION = "careful"
STORE = "store-1"
STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
TOPICS = [topic.name for topic in CATALOGUE if topic not in (EXECUTIONS, STATISTICS)]
"""Where something could be stored; execution summaries are the workers' own and come when they come."""

REPORTS = frozenset({"public.report_cursor", "public.hook_usage", "public.recent_statistics"})
"""What those summaries come to: likewise."""

Stored = Mapping[str, Any]


@dataclass(frozen=True)
class Platform:
    """A platform on which loyalty points are active for one organization, under this id."""

    stack: Stack
    caller: Caller
    installation: str

    async def post(self, content: bytes | str, content_type: str, **headers: str) -> httpx.Response:
        """Send something to the ingest."""
        return await self.caller.ask(
            "POST", "/api/events", role="cashier", content=content, headers={"content-type": content_type, **headers}
        )

    async def stored(self) -> Stored:
        """What is stored: how far each topic goes, how many rows each table has, and the last revision."""
        offsets = await end_offsets(self.stack.bootstrap, TOPICS)
        found: dict[str, Any] = {f"{place.topic}/{place.partition}": end for place, end in offsets.items() if end}
        for owner, url in self.stack.database_urls.items():
            found |= {f"{owner}: {table}": rows for table, rows in (await row_counts(url)).items()}
        return found

    @asynccontextmanager
    async def nothing_stored(self) -> AsyncIterator[None]:
        """What happens within leaves everything as it was."""
        before = await self.stored()
        yield
        assert await self.stored() == before


async def row_counts(url: str) -> dict[str, int]:
    """The rows of every table of a database; of the registry's revisions, the last one."""
    connection = await asyncpg.connect(url)
    try:
        tables = await connection.fetch("SELECT schemaname || '.' || tablename AS name FROM pg_tables")
        names = [row["name"] for row in tables if row["name"].startswith(("public.", "plugin_data."))]
        names = [name for name in names if name not in REPORTS]
        counts = {name: await connection.fetchval(f"SELECT count(*) FROM {name}") for name in names}  # noqa: S608
        if "public.publication" in counts:
            counts["revision"] = await connection.fetchval("SELECT revision FROM publication")
        return counts
    finally:
        await connection.close()


@pytest.fixture(scope="module")
async def platform(loyalty: Package, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Platform]:
    directory = tmp_path_factory.mktemp("platform")
    async with (
        Stack(directory, environ=environment(), durable=False) as stack,
        GatewayClient(stack.gateway_url, stack.issuer.token, ORGANIZATION) as client,
        Caller(stack, ORGANIZATION) as caller,
    ):
        yield Platform(stack, caller, await scenario.set_up(client, loyalty.data, [STORE]))


def event(**changes: Any) -> dict[str, Any]:
    """A good event of the organization with some members replaced; None takes one away."""
    members: dict[str, Any] = {
        "specversion": "1.0",
        "id": uuid.uuid4().hex,
        "source": "/pos/1",
        "type": "sale.created",
        "time": "2026-03-01T10:00:00Z",
        "organization": ORGANIZATION,
        "store": STORE,
        "data": {"id": "sale-1", "status": "parked"},
    } | changes
    return {name: value for name, value in members.items() if value is not None}


MALFORMED: Mapping[str, tuple[str | bytes, str]] = {
    "no JSON": ("{", "invalid_event"),
    "no object": ("[]", "invalid_event"),
    "no UTF-8": (b'{"id": "\xff"}', "invalid_event"),
    "endless nesting": ("[" * 100_000, "invalid_event"),
    "no id": (json.dumps(event(id=None)), "invalid_event"),
    "empty id": (json.dumps(event(id="")), "invalid_event"),
    "id that is a number": (json.dumps(event(id=7)), "invalid_event"),
    "id with NUL": (json.dumps(event(id="a\0b")), "invalid_event"),
    "no type": (json.dumps(event(type=None)), "invalid_event"),
    "no source": (json.dumps(event(source=None)), "invalid_event"),
    "another specversion": (json.dumps(event(specversion="0.3")), "invalid_event"),
    "time that is none": (json.dumps(event(time="yesterday")), "invalid_event"),
    "no organization": (json.dumps(event(organization=None)), "missing_organization"),
    "no store": (json.dumps(event(store=None)), "missing_store"),
    "type of a plugin": (json.dumps(event(type="loyalty-points/points-earned")), "reserved_type"),
    "entity without id": (json.dumps(event(data={"status": "parked"})), "invalid_event"),
    "entity that is text": (json.dumps(event(data="sale-1")), "invalid_event"),
    "entity id with NUL": (json.dumps(event(data={"id": "a\0b"})), "invalid_event"),
    "entity with NUL": (json.dumps(event(data={"id": "sale-1", "note": "a\0b"})), "invalid_event"),
    "data twice": (json.dumps(event(data_base64="e30=")), "invalid_event"),
    "data that is no Base64": (json.dumps(event(data=None, data_base64="%")), "invalid_event"),
    "data that is XML": (
        json.dumps(event(data=None, data_base64="PGE+", datacontenttype="text/xml")),
        "invalid_event",
    ),
}


@pytest.mark.parametrize("fault", MALFORMED)
async def test_malformed_event_is_refused_alone_and_with_its_whole_batch(platform: Platform, fault: str) -> None:
    content, code = MALFORMED[fault]
    batch = b"[" + json.dumps(event()).encode() + b"," + (content if isinstance(content, bytes) else content.encode())
    async with platform.nothing_stored():
        assert_problem(await platform.post(content, STRUCTURED), 400, code)
        assert_problem(await platform.post(batch + b"]", BATCH), 400, code)


@pytest.mark.parametrize(
    ("headers", "content", "code"),
    [
        ({"ce-id": ""}, "{}", "invalid_event"),
        ({"ce-type": "sale.created", "ce-time": "noon"}, '{"id": "sale-1"}', "invalid_event"),
        ({"ce-id": "%FF"}, '{"id": "sale-1"}', "invalid_event"),
        ({"ce-specversion": "2.0"}, '{"id": "sale-1"}', "invalid_event"),
        ({"ce-organization": ""}, '{"id": "sale-1"}', "missing_organization"),
        ({"ce-store": ""}, '{"id": "sale-1"}', "missing_store"),
        ({}, "{", "invalid_event"),
        ({}, "", "invalid_event"),
    ],
)
async def test_malformed_binary_event_is_refused(
    platform: Platform, headers: Mapping[str, str], content: str, code: str
) -> None:
    attributes = {f"ce-{name}": value for name, value in event(data=None).items()}
    async with platform.nothing_stored():
        answer = await platform.post(content, "application/json", **{**attributes, **headers})
        assert_problem(answer, 400, code)


@pytest.mark.parametrize(
    ("content", "content_type", "status", "code"),
    [
        ("<event/>", "application/cloudevents+xml", 415, "unsupported_media_type"),
        (" " * (1024 * 1024 + 1), STRUCTURED, 413, "body_too_large"),
        (json.dumps([event(data={"id": f"sale-{n}"}) for n in range(1_001)]), BATCH, 413, "batch_too_large"),
        (json.dumps(event(data={"id": "sale-1", "note": "x" * 1_010_000})), STRUCTURED, 413, "event_too_large"),
        (json.dumps(event(organization="somebody-else")), STRUCTURED, 403, "wrong_organization"),
    ],
    ids=["unknown format", "body over 1 MiB", "batch of 1,001", "event over 1 MB", "another organization's event"],
)
async def test_event_that_may_not_come_in_is_refused(
    platform: Platform, content: str, content_type: str, status: int, code: str
) -> None:
    async with platform.nothing_stored():
        assert_problem(await platform.post(content, content_type), status, code)


async def test_body_over_a_mebibyte_is_refused_although_its_length_was_not_announced(platform: Platform) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(17):
            yield b" " * 65_536

    async with platform.nothing_stored():
        for path in ("/api/events", "/api/plugins/loyalty-points/api/points/somebody/redeem"):
            answer = await platform.caller.ask(
                "POST", path, role="cashier", store=STORE, content=pieces(), headers={"content-type": STRUCTURED}
            )
            assert_problem(answer, 413, "body_too_large")


async def test_cashier_of_one_store_sends_nothing_for_another(platform: Platform) -> None:
    async with platform.nothing_stored():
        answer = await platform.caller.ask(
            "POST",
            "/api/events",
            role="cashier",
            store="store-2",
            content=json.dumps(event()),
            headers={"content-type": STRUCTURED},
        )
        assert_problem(answer, 403, "wrong_store")


async def test_event_of_an_unknown_type_is_kept_and_runs_no_hook(platform: Platform) -> None:
    hooks, before = await committed_hooks(platform.stack, platform.installation), await platform.stored()
    unknown = event(type="weather.changed", data={"temperature": "21.50"})

    answer = await platform.post(json.dumps(unknown), STRUCTURED)

    assert (answer.status_code, answer.json()) == (202, {"id": unknown["id"]})
    kept = [
        record
        for record in await read_topic(platform.stack.bootstrap, OTHER_EVENTS.name)
        if ("ce_id", unknown["id"].encode()) in record.headers
    ]
    assert [record.value and json.loads(record.value) for record in kept] == [{"temperature": "21.50"}]
    position = Position(kept[0].topic, kept[0].partition, kept[0].offset)
    await until_consumed(platform.stack.bootstrap, scenario.CONSUMER_GROUP, [position], within=15)
    assert await committed_hooks(platform.stack, platform.installation) == hooks
    after = await platform.stored()
    assert {name.partition("/")[0] for name in after if after[name] != before.get(name)} == {OTHER_EVENTS.name}


def unsigned(token: str) -> str:
    """The token's claims under the algorithm "none"."""
    header = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    return f"{header}.{token.split('.')[1]}."


@pytest.fixture
def bad_tokens(platform: Platform, tmp_path: Path) -> Mapping[str, str]:
    """Authorization headers that nobody may come in with."""
    issuer = platform.stack.issuer
    good = issuer.token("owner", ORGANIZATION)
    foreign = Issuer.create(tmp_path / "another-issuer").token("owner", ORGANIZATION)
    expired = issuer.token("owner", ORGANIZATION, lifetime=timedelta(minutes=-5))
    return {
        "none at all": "",
        "another scheme": f"Basic {good}",
        "no token": "Bearer",
        "no JWT": "Bearer abc",
        "broken signature": f"Bearer {good[:-8]}AAAAAAAA",
        "unsigned": f"Bearer {unsigned(good)}",
        "expired": f"Bearer {expired}",
        "another issuer's": f"Bearer {foreign}",
        "of an unknown role": f"Bearer {issuer.token('emperor', ORGANIZATION)}",  # type: ignore[arg-type]
    }


async def test_nobody_comes_in_without_a_good_token(platform: Platform, bad_tokens: Mapping[str, str]) -> None:
    place = f"/api/plugins/{platform.installation}"
    async with platform.nothing_stored():
        for authorization in bad_tokens.values():
            for method, path in (
                ("POST", "/api/events"),
                ("POST", f"{place}/deactivate"),
                ("DELETE", place),
                ("GET", "/api/plugins"),
                ("GET", "/api/plugins/ui-components/POS.AfterCheckout"),
                ("GET", "/api/plugins/loyalty-points/api/points/somebody"),
            ):
                answer = await platform.caller.ask(method, path, headers={"authorization": authorization})
                assert_problem(answer, 401, "unauthenticated")
                assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    ("method", "rest", "body"),
    [
        ("GET", "", None),
        ("GET", "/stats", None),
        ("POST", "/activate", None),
        ("POST", "/deactivate", None),
        ("PUT", "/config", {"config": {}}),
        ("DELETE", "", None),
        ("DELETE", "?force=true", None),
    ],
)
async def test_another_organizations_installation_does_not_exist(
    platform: Platform, method: str, rest: str, body: Any
) -> None:
    async with Caller(platform.stack, "curious") as stranger, platform.nothing_stored():
        path = f"/api/plugins/{platform.installation}{rest}"
        assert_problem(await stranger.ask(method, path, json=body), 404, "installation_not_found")
    assert (await platform.caller.read(platform.installation))["status"] == "active"


async def test_another_organizations_plugin_serves_and_shows_nothing(platform: Platform) -> None:
    async with Caller(platform.stack, "curious") as stranger, platform.nothing_stored():
        answer = await stranger.ask("GET", "/api/plugins/loyalty-points/api/points/somebody", store=STORE)
        assert_problem(answer, 404, "not_installed")
        shown = await stranger.ask("GET", "/api/plugins/ui-components/POS.AfterCheckout", store=STORE)
        assert (shown.status_code, shown.json()["components"]) == (200, [])
        assert (await stranger.ask("GET", "/api/plugins")).json()["items"] == []


@pytest.mark.parametrize("role", ["manager", "cashier", "publisher"])
async def test_only_owners_and_admins_manage(platform: Platform, role: Any) -> None:
    place = f"/api/plugins/{platform.installation}"
    async with platform.nothing_stored():
        for method, path, body in (
            ("POST", "/api/plugins/install", {"pluginId": "loyalty-points", "storeId": STORE}),
            ("POST", f"{place}/activate", None),
            ("POST", f"{place}/deactivate", None),
            ("PUT", f"{place}/config", {"config": {}}),
            ("DELETE", place, None),
        ):
            assert_problem(await platform.caller.ask(method, path, role=role, json=body), 403, "forbidden")


INSTALL: Mapping[str, tuple[Any, int, str]] = {
    "unknown plugin": ({"pluginId": "unheard-of"}, 404, "plugin_not_found"),
    "unknown version": ({"pluginId": "loyalty-points", "version": "9.9.9"}, 404, "version_not_found"),
    "bad config": ({"pluginId": "loyalty-points", "config": {"pointsPerDollar": -1}}, 422, "invalid_config"),
    "unknown setting": ({"pluginId": "loyalty-points", "config": {"colour": "red"}}, 422, "invalid_config"),
    "config with NUL": ({"pluginId": "loyalty-points", "config": {"redemptionRate": "\0"}}, 422, "invalid_config"),
    "unknown grant": ({"pluginId": "loyalty-points", "grants": ["all"]}, 422, "invalid_grants"),
    "no plugin": ({}, 422, "invalid_request"),
    "unknown member": ({"pluginId": "loyalty-points", "stroeId": STORE}, 422, "invalid_request"),
    "no object": ([], 422, "invalid_request"),
}


@pytest.mark.parametrize("fault", INSTALL)
async def test_installation_that_cannot_be_is_refused(platform: Platform, fault: str) -> None:
    body, status, code = INSTALL[fault]
    async with Caller(platform.stack, "clumsy") as clumsy, platform.nothing_stored():
        assert_problem(await clumsy.ask("POST", "/api/plugins/install", json=body), status, code)


async def test_second_installation_in_the_same_place_is_refused(platform: Platform) -> None:
    async with platform.nothing_stored():
        for store in (None, STORE):
            body = {"pluginId": "loyalty-points", "storeId": store}
            answer = await platform.caller.ask("POST", "/api/plugins/install", json=body)
            assert_problem(answer, 409, "already_installed")


async def test_change_that_cannot_be_leaves_the_installation_as_it_is(platform: Platform) -> None:
    place = f"/api/plugins/{platform.installation}"
    before = await platform.caller.read(platform.installation)
    async with platform.nothing_stored():
        bad: list[dict[str, Any]] = [{"pointsPerDollar": "many"}, {"unknown": 1}, {"pointsPerDollar": [[]]}]
        for config in bad:
            answer = await platform.caller.ask("PUT", f"{place}/config", json={"config": config})
            assert assert_problem(answer, 422, "invalid_config")["errors"]
        assert_problem(await platform.caller.ask("POST", f"{place}/activate"), 409, "illegal_transition")
        assert_problem(await platform.caller.ask("DELETE", place), 409, "illegal_transition")
    assert await platform.caller.read(platform.installation) == before


async def test_address_that_leads_nowhere_is_a_problem(platform: Platform) -> None:
    async with platform.nothing_stored():
        for method, path, code in (
            ("GET", f"/api/plugins/{uuid.uuid4()}", "installation_not_found"),
            ("GET", "/api/plugins/not-an-id", "installation_not_found"),
            ("GET", "/api/plugins/unheard-of/api/points", "not_installed"),
            ("GET", "/api/plugins/loyalty-points/api/unheard-of", "route_not_found"),
            ("GET", "/api/plugins/ui-components/POS.Nowhere", "unknown_injection_point"),
            ("GET", "/api/nothing", "not_found"),
        ):
            assert_problem(await platform.caller.ask(method, path, store=STORE), 404, code)


async def test_package_that_is_none_is_not_published(platform: Platform) -> None:
    package_type = {"content-type": "application/vnd.outlet.package"}
    async with platform.nothing_stored():
        for content, headers, status, code in (
            (b"not a zip", package_type, 422, "invalid_package"),
            (b"PK\x05\x06" + bytes(18), package_type, 422, "invalid_package"),
            (b"{}", {"content-type": "application/json"}, 415, "unsupported_media_type"),
            (bytes(4 * 1024 * 1024 + 1), package_type, 413, "body_too_large"),
        ):
            answer = await platform.caller.ask(
                "POST", "/api/plugins/marketplace", role="publisher", content=content, headers=headers
            )
            assert_problem(answer, status, code)
