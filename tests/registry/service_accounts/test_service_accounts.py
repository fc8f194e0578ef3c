"""Service accounts: what their keys open, and everything that they do not."""

import base64
import re
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest

from services.common.auth import TokenVerifier
from services.common.errors import Unauthenticated
from services.common.settings import SERVICE_ACCOUNT_ISSUER, IdentitySettings, TrustedIssuer
from tests.registry.packages import package
from tests.registry.platform import Client, LocalRegistry, Registry
from tests.registry.worker import FakeWorker

FORM = "application/x-www-form-urlencoded"


def in_days(days: float) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).isoformat()


async def make(maker: Client, *rights: str, **members: Any) -> dict[str, Any]:
    wanted = {"name": "CI", "rights": list(rights), "expiresAt": in_days(30)} | members
    response = await maker.post("/service-accounts", wanted)
    assert response.status_code == 201, response.text
    assert response.headers["Cache-Control"] == "no-store"
    document: dict[str, Any] = response.json()
    return document


async def exchange(registry: Registry, headers: dict[str, str] | None = None, /, **fields: str) -> httpx.Response:
    form = {"grant_type": "client_credentials"} | fields
    return await registry.http.post("/api/plugins/service-accounts/token", data=form, headers=headers)


async def token_for(registry: Registry, account: dict[str, Any], **fields: str) -> str:
    response = await exchange(registry, client_secret=account["key"], **fields)
    assert response.status_code == 200, response.text
    return str(response.json()["access_token"])


async def expire(registry: LocalRegistry, account: dict[str, Any]) -> None:
    connection = await asyncpg.connect(registry.settings.registry_database_url)
    try:
        await connection.execute(
            "UPDATE service_account SET expires_at = now() - interval '1 s' WHERE id = $1::text::uuid", account["id"]
        )
    finally:
        await connection.close()


async def test_a_key_is_shown_once_and_kept_as_a_hash(registry: LocalRegistry, owner: Client) -> None:
    account = await make(owner, "read")
    assert re.fullmatch(r"outlet_sa_[0-9a-f]{64}", account["key"])
    (listed,) = (await owner.get("/service-accounts")).json()["items"]
    assert listed == {name: value for name, value in account.items() if name != "key"}
    connection = await asyncpg.connect(registry.settings.registry_database_url)
    try:
        tables = [
            row["tablename"]
            for row in await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        ]
        for table in tables:
            rows = await connection.fetch(f'SELECT t::text FROM "{table}" t')  # noqa: S608
            assert not any(account["key"][10:] in row[0] for row in rows)
    finally:
        await connection.close()


@pytest.mark.parametrize("exchanged", [False, True])
async def test_an_account_does_what_it_has_the_right_to(
    worker: FakeWorker, registry: LocalRegistry, owner: Client, plugin_id: str, exchanged: bool
) -> None:
    account = await make(owner, "install", "read")
    credentials = await token_for(registry, account) if exchanged else account["key"]
    ci = registry.bearer(owner.organization, credentials)
    installed = await ci.install(plugin_id)
    assert installed["installedBy"] == f"service-account:{account['id']}"
    assert (await ci.post(f"/{installed['id']}/activate")).json()["status"] == "active"
    assert (await ci.get()).status_code == 200
    log = (await owner.get("/audit", action="installation.install")).json()["items"]
    by = {"subject": f"service-account:{account['id']}", "role": "service", "serviceAccount": account["id"]}
    assert [entry["by"] for entry in log] == [by, by]
    (listed,) = (await owner.get("/service-accounts")).json()["items"]
    assert listed["lastUsedAt"] is not None


async def test_a_publishers_account_publishes(registry: LocalRegistry) -> None:
    publisher = registry.caller("publisher")
    account = await make(publisher, "publish")
    ci = registry.bearer(publisher.organization, account["key"])
    assert (await ci.publish(package(f"plugin-{uuid4().hex[:8]}"))).status_code == 201
    assert (await ci.get()).status_code == 403


async def test_an_account_cannot_go_beyond_its_rights(
    worker: FakeWorker, registry: LocalRegistry, owner: Client, plugin_id: str
) -> None:
    account = await make(owner, "install", "read")
    whole = registry.bearer(owner.organization, account["key"])
    reader = registry.bearer(owner.organization, await token_for(registry, account, scope="read"))
    assert (await reader.get()).status_code == 200
    assert (await reader.try_install(plugin_id)).status_code == 403
    # Not even with all of its rights does an account make others, or see who did what.
    wanted = {"name": "more", "rights": ["read"], "expiresAt": in_days(1)}
    assert (await whole.post("/service-accounts", wanted)).status_code == 403
    assert (await whole.delete(f"/service-accounts/{account['id']}")).status_code == 403
    assert (await whole.get("/audit")).status_code == 403
    assert (await whole.publish(package("p"))).status_code == 403


@pytest.mark.parametrize(
    ("role", "rights"),
    [
        ("owner", ["publish"]),
        ("admin", ["read", "publish"]),
        ("publisher", ["install"]),
        ("publisher", ["publish", "read"]),
    ],
)
async def test_nobody_gives_a_right_that_is_not_theirs(registry: Registry, role: str, rights: list[str]) -> None:
    wanted = {"name": "CI", "rights": rights, "expiresAt": in_days(1)}
    refused = await registry.caller(role).post("/service-accounts", wanted)
    assert (refused.status_code, refused.json()["code"]) == (403, "right_not_yours")


@pytest.mark.parametrize(
    "changes",
    [
        {"expiresAt": in_days(-1)},
        {"expiresAt": in_days(367)},
        {"expiresAt": "2027-01-01T00:00:00"},
        {"expiresAt": None},
        {"rights": []},
        {"rights": ["everything"]},
        {"name": ""},
        {"key": "outlet_sa_of_my_own"},
    ],
)
async def test_an_account_that_makes_no_sense_is_refused(owner: Client, changes: dict[str, Any]) -> None:
    wanted = {"name": "CI", "rights": ["read"], "expiresAt": in_days(1)} | changes
    assert (await owner.post("/service-accounts", wanted)).status_code == 422


async def test_a_revoked_account_is_refused_at_once_with_key_and_token(registry: LocalRegistry, owner: Client) -> None:
    account = await make(owner, "read")
    clients = [
        registry.bearer(owner.organization, each) for each in (account["key"], await token_for(registry, account))
    ]
    for _ in range(2):  # again is harmless
        assert (await owner.delete(f"/service-accounts/{account['id']}")).status_code == 204
    for client in clients:
        refused = await client.get()
        assert (refused.status_code, refused.json()["code"]) == (401, "invalid_service_account")
    assert (await exchange(registry, client_secret=account["key"])).json()["error"] == "invalid_client"
    actions = [entry["action"] for entry in (await owner.get("/audit")).json()["items"]]
    assert actions == ["service-account.revoke", "service-account.create"]


async def test_an_expired_account_is_refused_with_key_and_token(registry: LocalRegistry, owner: Client) -> None:
    account = await make(owner, "read")
    token = await token_for(registry, account)
    await expire(registry, account)
    for credentials in (account["key"], token):
        refused = await registry.bearer(owner.organization, credentials).get()
        assert (refused.status_code, refused.json()["code"]) == (401, "invalid_service_account")


async def test_a_token_does_not_outlive_its_account(registry: LocalRegistry, owner: Client) -> None:
    account = await make(owner, "read", expiresAt=in_days(60 / 86400))
    answer = (await exchange(registry, client_secret=account["key"])).json()
    assert 0 < answer["expires_in"] <= 60
    verifier = other_service(registry, (await registry.http.get("/internal/service-accounts/jwks")).json())
    caller = await verifier.verify(answer["access_token"])
    assert caller.expires_at is not None
    assert caller.expires_at <= time.time() + 60


@pytest.mark.parametrize("key", ["outlet_sa_" + "0" * 64, "outlet_sa_", "outlet_sa_\x00"])
async def test_a_key_that_nobody_was_given_is_refused(registry: LocalRegistry, key: str) -> None:
    refused = await registry.bearer("acme", key).get()
    assert (refused.status_code, refused.json()["code"]) == (401, "invalid_service_account")


async def test_accounts_of_another_organization_are_not_there(registry: LocalRegistry, owner: Client) -> None:
    account = await make(owner, "read")
    stranger = registry.caller("owner")
    assert (await stranger.get("/service-accounts")).json()["items"] == []
    assert (await stranger.delete(f"/service-accounts/{account['id']}")).status_code == 404
    assert (await owner.delete("/service-accounts/no-id")).status_code == 404


async def test_a_publisher_manages_only_accounts_that_publish(registry: LocalRegistry, owner: Client) -> None:
    publisher = owner.also("publisher")
    own, other = await make(publisher, "publish"), await make(owner, "read")
    assert [each["id"] for each in (await publisher.get("/service-accounts")).json()["items"]] == [own["id"]]
    assert (await publisher.delete(f"/service-accounts/{other['id']}")).status_code == 404
    assert (await owner.delete(f"/service-accounts/{own['id']}")).status_code == 204


async def test_an_account_of_a_store_stays_in_it(
    worker: FakeWorker, registry: LocalRegistry, owner: Client, plugin_id: str
) -> None:
    account = await make(owner.also("admin", store="s1"), "install", "read")
    assert account["storeId"] == "s1"
    for credentials in (account["key"], await token_for(registry, account)):
        ci = registry.bearer(owner.organization, credentials)
        refused = await ci.try_install(plugin_id, storeId="s2")
        assert (refused.status_code, refused.json()["code"]) == (403, "wrong_store")
    elsewhere = owner.also(store="s2")
    assert (await elsewhere.get("/service-accounts")).json()["items"] == []
    assert (await elsewhere.delete(f"/service-accounts/{account['id']}")).status_code == 404


async def test_accounts_are_paged(owner: Client) -> None:
    made = [(await make(owner, "read", name=f"ci-{number}"))["id"] for number in range(3)]
    page = (await owner.get("/service-accounts", limit=2)).json()
    rest = (await owner.get("/service-accounts", limit=2, cursor=page["nextCursor"])).json()
    assert [each["id"] for each in page["items"] + rest["items"]] == made
    for cursor in ("rubbish", "WyJhIiwiYiJd"):
        assert (await owner.get("/service-accounts", cursor=cursor)).json()["code"] == "invalid_cursor"


def other_service(registry: LocalRegistry, jwks: dict[str, Any]) -> TokenVerifier:
    """A verifier as gateway and ui_components have it, with the keys that the registry publishes."""
    identity = IdentitySettings(jwks=registry.settings.jwks, jwt_issuer=registry.settings.jwt_issuer)
    return TokenVerifier(identity, TrustedIssuer(SERVICE_ACCOUNT_ISSUER, jwks, service_accounts=True))


async def test_other_services_verify_tokens_by_the_published_keys(registry: LocalRegistry, owner: Client) -> None:
    account = await make(owner, "install", "read")
    jwks = (await registry.http.get("/internal/service-accounts/jwks")).json()
    assert not any("d" in key for key in jwks["keys"])
    caller = await other_service(registry, jwks).verify(await token_for(registry, account))
    assert (caller.organization, caller.service_account) == (owner.organization, account["id"])
    assert caller.rights == {"install", "read"}
    with pytest.raises(Unauthenticated):  # a key itself is for the registry alone
        await other_service(registry, jwks).verify(account["key"])


async def test_basic_authentication_does_as_well(registry: LocalRegistry, owner: Client) -> None:
    account = await make(owner, "read")
    encoded = base64.b64encode(f"{account['id']}:{account['key']}".encode()).decode()
    answer = await exchange(registry, {"Authorization": f"Basic {encoded}"})
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert {name: answer.json()[name] for name in ("token_type", "expires_in", "scope")} == {
        "token_type": "Bearer",
        "expires_in": 600,
        "scope": "read",
    }


async def test_wrong_token_requests_are_refused_as_oauth_has_it(registry: LocalRegistry, owner: Client) -> None:
    account = await make(owner, "read")
    key = account["key"]
    refusals: list[tuple[dict[str, str], int, str]] = [
        ({"grant_type": "password", "client_secret": key}, 400, "unsupported_grant_type"),
        ({"client_secret": key, "scope": "read install"}, 400, "invalid_scope"),
        ({"client_secret": key, "scope": ""}, 400, "invalid_scope"),
        ({"client_secret": key, "client_id": str(uuid4())}, 401, "invalid_client"),
        ({"client_secret": key + "0"}, 401, "invalid_client"),
        ({"client_secret": owner.headers["Authorization"]}, 401, "invalid_client"),
        ({}, 401, "invalid_client"),
    ]
    for fields, status, error in refusals:
        refused = await exchange(registry, **fields)
        assert (refused.status_code, refused.json()["error"]) == (status, error)
        assert key not in refused.text
    for basic in ("!", base64.b64encode(b"no colon").decode(), base64.b64encode(b"\xff:\xff").decode()):
        refused = await exchange(registry, {"Authorization": f"Basic {basic}"})
        assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")


@pytest.mark.parametrize(
    ("content", "media_type", "status"),
    [
        ("grant_type=client_credentials&client_secret=a&client_secret=b", FORM, 400),
        ("grant_type", FORM, 400),
        ("", FORM, 400),
        ("&".join(f"a{number}=1" for number in range(20)), FORM, 400),
        ("{}", "application/json", 400),
        ("a=" + "x" * 5000, FORM, 413),
    ],
)
async def test_a_token_request_that_is_no_form_is_refused(
    registry: LocalRegistry, content: str, media_type: str, status: int
) -> None:
    refused = await registry.http.post(
        "/api/plugins/service-accounts/token", content=content, headers={"Content-Type": media_type}
    )
    assert refused.status_code == status, refused.text
