"""The list with its filters and pages, the configuration, and the rollout."""

import pytest

from tests.registry.platform import Client, Registry
from tests.registry.worker import FakeWorker


@pytest.fixture
async def shop(registry: Registry, owner: Client, worker: FakeWorker) -> dict[str, str]:
    """Ids of installations by name: three plugins, one of them in two stores, one active."""
    payment = await registry.publish(category="payment", name="Card payment")
    shipping = await registry.publish(category="shipping", description="Sends 100% of parcels")
    loyalty = await registry.publish()
    ids = {
        "payment": (await owner.install(payment))["id"],
        "shipping": (await owner.install(shipping))["id"],
        "s1": (await owner.install(loyalty, storeId="s1"))["id"],
        "s2": (await owner.install(loyalty, storeId="s2"))["id"],
    }
    await owner.post(f"/{ids['payment']}/activate")
    return ids


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ["payment", "shipping", "s1", "s2"]),
        ({"status": "active"}, ["payment"]),
        ({"status": "error"}, []),
        ({"category": "shipping"}, ["shipping"]),
        ({"storeId": "s1"}, ["payment", "shipping", "s1"]),
        ({"search": "CARD"}, ["payment"]),
        ({"search": "100%"}, ["shipping"]),
        ({"search": "1_0"}, []),
        ({"status": "inactive", "category": "loyalty", "storeId": "s2"}, ["s2"]),
    ],
)
async def test_the_list_is_filtered(
    owner: Client, shop: dict[str, str], query: dict[str, str], found: list[str]
) -> None:
    items = (await owner.get(**query)).json()["items"]
    assert [item["id"] for item in items] == [shop[name] for name in found]


async def test_the_list_is_filtered_by_plugin(owner: Client, shop: dict[str, str]) -> None:
    plugin_id = (await owner.read(shop["s1"]))["pluginId"]
    items = (await owner.get(pluginId=plugin_id)).json()["items"]
    assert [item["id"] for item in items] == [shop["s1"], shop["s2"]]


async def test_pages_cover_the_list_once(owner: Client, shop: dict[str, str]) -> None:
    seen: list[str] = []
    query: dict[str, str] = {}
    for size in (3, 1):
        page = (await owner.get(limit=3, **query)).json()
        assert len(page["items"]) == size
        seen += [item["id"] for item in page["items"]]
        query = {"cursor": page["nextCursor"]}
    assert (seen, page["nextCursor"]) == (list(shop.values()), None)


@pytest.mark.parametrize("cursor", ["rubbish", "WyJhIiwiYiJd", "WyIyMDI2LTAxLTAxIiwgIngiXQ", "e30", "%00", "é"])
async def test_other_cursors_are_refused(owner: Client, cursor: str) -> None:
    refused = await owner.get(cursor=cursor)
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_cursor")


async def test_unknown_statuses_are_refused(owner: Client) -> None:
    assert (await owner.get(status="gone")).status_code == 422


async def test_a_new_configuration_replaces_the_former(owner: Client, plugin_id: str, worker: FakeWorker) -> None:
    installed = await owner.install(plugin_id, config={"rate": 5, "label": "x"})
    changed = await owner.put(f"/{installed['id']}/config", {"config": {"rate": 6}})
    assert changed.json()["config"] == {"rate": 6}
    assert changed.json()["revision"] > installed["revision"]
    assert worker.hooks == ["ON_INSTALL"]


async def test_the_rollout_counts_workers_that_follow(owner: Client, plugin_id: str, worker: FakeWorker) -> None:
    installed = await owner.install(plugin_id)
    assert installed["rollout"] == {"workers": 1, "live": 0, "sandboxTier": "B"}
    worker.directory_revision = installed["revision"]
    await worker.lease.renew()
    assert (await owner.read(installed["id"]))["rollout"] == {"workers": 1, "live": 1, "sandboxTier": "B"}


async def test_the_documentation_describes_what_is_answered(registry: Registry) -> None:
    schema = (await registry.http.get("/openapi.json")).json()
    assert set(schema["paths"]) == {
        "/api/plugins",
        "/api/plugins/audit",
        "/api/plugins/audit/export",
        "/api/plugins/audit/verify",
        "/api/plugins/install",
        "/api/plugins/install/plan",
        "/api/plugins/marketplace",
        "/api/plugins/policies/updates",
        "/api/plugins/marketplace/mirror",
        "/api/plugins/marketplace/submissions",
        "/api/plugins/marketplace/{plugin_id}/versions/{version}/package",
        "/api/plugins/marketplace/{plugin_id}/versions/{version}/revocation",
        "/api/plugins/marketplace/{plugin_id}/versions/{version}/submission",
        "/api/plugins/marketplace/{plugin_id}/versions/{version}/submission/decision",
        "/api/plugins/marketplace/{plugin_id}/versions/{version}/submission/package",
        "/api/plugins/marketplace/{plugin_id}/versions/{version}/yank",
        "/api/plugins/publisher-keys",
        "/api/plugins/publisher-keys/{key_id}",
        "/api/plugins/marketplace/{plugin_id}/featured",
        "/api/plugins/licences",
        "/api/plugins/marketplace/{plugin_id}/licence/cancel",
        "/api/plugins/marketplace/{plugin_id}/licence/checkout",
        "/api/plugins/marketplace/{plugin_id}/licence/trial",
        "/api/plugins/payments/{provider}/webhook",
        "/api/plugins/marketplace/{plugin_id}/review",
        "/api/plugins/marketplace/{plugin_id}/reviews",
        "/api/plugins/marketplace/{plugin_id}/reviews/{review_id}/reply",
        "/api/plugins/marketplace/{plugin_id}/reviews/{review_id}/report",
        "/api/plugins/marketplace/{plugin_id}/reviews/{review_id}/visibility",
        "/api/plugins/reviews",
        "/api/plugins/retained",
        "/api/plugins/retained/{installation_id}/export",
        "/api/plugins/service-accounts",
        "/api/plugins/service-accounts/token",
        "/api/plugins/service-accounts/{account_id}",
        "/api/plugins/regions",
        "/api/plugins/regions/{region_id}",
        "/api/plugins/{installation_id}/effective",
        "/api/plugins/{installation_id}/overrides",
        "/api/plugins/{installation_id}/overrides/regions/{region_id}",
        "/api/plugins/{installation_id}/overrides/stores/{store_id}",
        "/api/plugins/bulk",
        "/api/plugins/bulk/{job_id}",
        "/api/plugins/bulk/{job_id}/cancel",
        "/api/plugins/bulk/{job_id}/retry",
        "/api/plugins/rollouts",
        "/api/plugins/rollouts/{rollout_id}",
        "/api/plugins/rollouts/{rollout_id}/cancel",
        "/api/plugins/rollouts/{rollout_id}/rollback",
        "/api/plugins/updates",
        "/api/plugins/{installation_id}",
        "/api/plugins/{installation_id}/activate",
        "/api/plugins/{installation_id}/config",
        "/api/plugins/{installation_id}/deactivate",
        "/api/plugins/{installation_id}/rollback",
        "/api/plugins/{installation_id}/stats",
        "/api/plugins/{installation_id}/update",
        "/internal/packages/{digest}",
        "/internal/service-accounts/jwks",
    }
    details = schema["components"]["schemas"]["InstallationDetails"]["properties"]
    assert {"pluginId", "settingsSchema", "rollout", "lastDeactivatedAt"} <= details.keys()
    for path in schema["paths"].values():
        for operation in path.values():
            failures = [answer for status, answer in operation["responses"].items() if status >= "400"]
            assert all(set(answer["content"]) == {"application/problem+json"} for answer in failures)
