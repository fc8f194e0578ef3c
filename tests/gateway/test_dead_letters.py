"""``/api/dead-letters``: who may do what, whose letters are meant, and what the documents say."""

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from outlet.local.issuer import Issuer
from outlet.local.roles import Role
from proto import runtime_pb2 as pb
from services.gateway.app import build_app
from tests.gateway.support import FakeWorker
from tests.support.directory import eventually

PATH = "/api/dead-letters"
FAILED_AT = datetime(2026, 11, 1, 12, tzinfo=UTC)
REPLAY = "0123456789abcdef" * 2


def letter(number: int = 7, **changes: Any) -> pb.DeadLetter:
    facts: dict[str, Any] = {
        "id": number,
        "plugin_id": "loyalty-points",
        "version": "1.0.0",
        "installation_id": "i-1",
        "store_id": "s1",
        "event_type": "sale.created",
        "event_source": "urn:pos",
        "event_id": "e-1",
        "attempts": 8,
        "code": "plugin_raised",
        "message": "KeyError",
    }
    made = pb.DeadLetter(**(facts | changes))
    made.failed_at.FromDatetime(FAILED_AT)
    return made


@pytest.fixture
async def client(client: httpx.AsyncClient, issuer: Issuer, worker: FakeWorker) -> httpx.AsyncClient:
    """An owner's, of a gateway that knows the worker."""
    use(client, issuer, "owner")

    async def known() -> bool:
        return (await client.get(PATH)).status_code == 200

    await eventually(known)
    worker.letters.requests.clear()
    return client


def use(client: httpx.AsyncClient, issuer: Issuer, role: Role, store: str | None = None) -> None:
    client.headers["Authorization"] = f"Bearer {issuer.token(role, 'acme', store=store)}"


async def test_letters_are_listed_page_by_page(client: httpx.AsyncClient, worker: FakeWorker) -> None:
    worker.letters.answers["list"] = pb.ListDeadLettersResponse(letters=[letter(9), letter(8), letter(7)])
    first = (await client.get(PATH, params={"limit": 2})).json()
    assert [item["id"] for item in first["items"]] == [9, 8]
    assert first["items"][0] == {
        "id": 9,
        "pluginId": "loyalty-points",
        "version": "1.0.0",
        "installationId": "i-1",
        "storeId": "s1",
        "eventType": "sale.created",
        "eventSource": "urn:pos",
        "eventId": "e-1",
        "attempts": 8,
        "code": "plugin_raised",
        "message": "KeyError",
        "failedAt": "2026-11-01T12:00:00Z",
        "replayId": None,
    }
    worker.letters.answers["list"] = pb.ListDeadLettersResponse(letters=[letter(7)])
    last = (await client.get(PATH, params={"limit": 2, "cursor": first["nextCursor"]})).json()
    assert (len(last["items"]), last["nextCursor"]) == (1, None)
    assert [(asked.limit, asked.before) for asked in worker.letters.requests] == [(3, 0), (3, 8)]


async def test_filters_reach_the_worker_with_the_organization_of_the_token(
    client: httpx.AsyncClient, worker: FakeWorker
) -> None:
    asked = {
        "pluginId": "p",
        "version": "1.0.0",
        "installationId": "i",
        "storeId": "s1",
        "event": "sale.created",
        "code": "plugin_raised",
        "error": "Key",
        "since": "2026-11-01T12:00:00Z",
        "until": "2026-11-01T13:30:00+01:00",
    }
    assert (await client.get(PATH, params=asked)).status_code == 200
    assert (await client.post(f"{PATH}/replay", json={"filter": asked})).status_code == 200
    listed, replayed, _ = worker.letters.requests
    for request in (listed, replayed):
        assert (request.scope.organization_id, request.scope.store_id) == ("acme", "s1")
        wanted = request.filter
        assert (wanted.plugin_id, wanted.version, wanted.installation_id) == ("p", "1.0.0", "i")
        assert (wanted.event_type, wanted.code, wanted.message_part) == ("sale.created", "plugin_raised", "Key")
        assert (wanted.until.seconds - wanted.since.seconds, wanted.since.ToDatetime(UTC)) == (1_800, FAILED_AT)


async def test_a_letter_shows_its_payload_digit_by_digit(client: httpx.AsyncClient, worker: FakeWorker) -> None:
    worker.letters.answers["get"] = pb.GetDeadLetterResponse(
        letter=letter(), payload=b'{"total":19.10}', stack="Traceback ...", event_time="2026-11-01T11:59:00Z"
    )
    answer = await client.get(f"{PATH}/7")
    assert '"payload":{"total":19.10}' in answer.text
    assert (answer.json()["stack"], answer.json()["eventTime"]) == ("Traceback ...", "2026-11-01T11:59:00Z")
    worker.letters.answers["get"] = pb.GetDeadLetterResponse(letter=letter(), payload=b"{no json")
    assert (await client.get(f"{PATH}/7")).json()["payload"] is None


async def test_a_manager_sees_letters_without_tracebacks_and_changes_nothing(
    client: httpx.AsyncClient, worker: FakeWorker, issuer: Issuer
) -> None:
    use(client, issuer, "manager")
    worker.letters.answers["get"] = pb.GetDeadLetterResponse(letter=letter(), payload=b"1", stack="Traceback ...")
    assert (await client.get(f"{PATH}/7")).json()["stack"] is None
    for action in ("replay", "discard"):
        assert (await client.post(f"{PATH}/{action}", json={"ids": [7]})).status_code == 403
    use(client, issuer, "cashier")
    assert (await client.get(PATH)).status_code == 403
    assert [type(request) for request in worker.letters.requests] == [pb.GetDeadLetterRequest]


async def test_a_token_of_one_store_reaches_that_store_alone(
    client: httpx.AsyncClient, worker: FakeWorker, issuer: Issuer
) -> None:
    use(client, issuer, "admin", store="s1")
    await client.get(PATH)
    await client.get(f"{PATH}/7")
    await client.get(f"{PATH}/replays/{REPLAY}")
    await client.post(f"{PATH}/discard", json={"ids": [7]})
    await client.post(f"{PATH}/replay", json={"filter": {}})
    assert {request.scope.store_id for request in worker.letters.requests} == {"s1"}
    refused = await client.post(f"{PATH}/replay", json={"filter": {"storeId": "s2"}})
    assert (refused.status_code, refused.json()["code"]) == (403, "wrong_store")


async def test_a_replay_says_what_it_holds_and_can_be_followed(client: httpx.AsyncClient, worker: FakeWorker) -> None:
    worker.letters.answers["replay"] = pb.ReplayDeadLettersResponse(total=3, gone=2, left=1)
    worker.letters.answers["progress"] = pb.GetReplayResponse(total=5, waiting=1, succeeded=3, dead=1)
    started = (await client.post(f"{PATH}/replay", json={"ids": [1, 2]})).json()
    assert started | {"replayId": None} == {"replayId": None, "total": 5, "gone": 2, "left": 1}
    asked, looked = worker.letters.requests
    assert (list(asked.filter.ids), asked.dry_run, asked.replay_id) == ([1, 2], False, started["replayId"])
    assert looked.replay_id == started["replayId"]
    assert (await client.get(f"{PATH}/replays/{started['replayId']}")).json() == {
        "replayId": started["replayId"],
        "total": 5,
        "waiting": 1,
        "succeeded": 3,
        "dead": 1,
        "discarded": 0,
    }


async def test_dry_runs_are_passed_on_as_such(client: httpx.AsyncClient, worker: FakeWorker) -> None:
    worker.letters.answers["replay"] = pb.ReplayDeadLettersResponse(total=3)
    worker.letters.answers["discard"] = pb.DiscardDeadLettersResponse(total=4, left=1)
    body = {"filter": {}, "dryRun": True}
    replayed = (await client.post(f"{PATH}/replay", json=body)).json()
    assert replayed == {"replayId": None, "total": 3, "gone": 0, "left": 0}
    assert (await client.post(f"{PATH}/discard", json=body)).json() == {"total": 4, "left": 1}
    assert [request.dry_run for request in worker.letters.requests] == [True, True]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"dryRun": True},
        {"ids": []},
        {"ids": [0]},
        {"ids": [1], "filter": {}},
        {"filter": {"plugin": "misspelled"}},
        {"filter": {"pluginId": ""}},
        {"filter": {"error": "nul\0"}},
        {"filter": {"since": "2026-11-01T12:00:00"}},
    ],
)
async def test_a_selection_that_could_mean_more_than_was_meant_is_refused(
    client: httpx.AsyncClient, worker: FakeWorker, body: dict[str, Any]
) -> None:
    for action in ("replay", "discard"):
        answer = await client.post(f"{PATH}/{action}", json=body)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert worker.letters.requests == []


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        (f"{PATH}/7", 404, "dead_letter_not_found"),
        (f"{PATH}/replays/{REPLAY}", 404, "replay_not_found"),
        (f"{PATH}/replays/unknown", 422, "invalid_request"),
        (f"{PATH}/seven", 422, "invalid_request"),
        (f"{PATH}?cursor=rubbish", 400, "invalid_cursor"),
        (f"{PATH}?plugin=misspelled", 422, "invalid_request"),
    ],
)
async def test_what_is_not_there_is_a_problem(client: httpx.AsyncClient, path: str, status: int, code: str) -> None:
    answer = await client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"


def test_the_routes_are_in_the_openapi_document(settings: Any, identity: Any) -> None:
    paths = build_app(settings(), identity).openapi()["paths"]
    assert {path for path in paths if path.startswith(PATH)} == {
        PATH,
        f"{PATH}/{{letter_id}}",
        f"{PATH}/replay",
        f"{PATH}/discard",
        f"{PATH}/replays/{{replay_id}}",
    }
