"""Installed once for an organization, otherwise in some regions and stores of it."""

import asyncio
from typing import Any

import asyncpg
import pytest

from services.common.directory import Installation
from services.common.secret_settings import SecretPlace
from tests.registry.platform import Client, LocalRegistry
from tests.registry.setting_changes.test_setting_changes import change, send, until_config
from tests.registry.topic import following
from tests.registry.worker import FAILS, SUCCEEDS, FakeWorker, sets_config

SETTINGS: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "rate": {"type": "number", "minimum": 0, "default": 1},
        "label": {"type": "string", "maxLength": 20},
        "least": {"type": "number"},
        "apiKey": {"type": "string", "format": "secret", "minLength": 8},
    },
    "not": {"properties": {"label": {"const": "cheap"}, "rate": {"minimum": 5}}, "required": ["label", "rate"]},
}
"""What is labelled cheap must not have a high rate: settings that are right alone can be wrong together."""
PERMISSIONS = [
    {"name": "sale:read", "purpose": "to count them"},
    {"name": "customer:read", "purpose": "to know them"},
    {"name": "customer:personal-data", "purpose": "to write to them"},
]
SECRET = "sk-north-2718281828"


@pytest.fixture
async def plugin_id(registry: LocalRegistry) -> str:
    return await registry.publish(settingsSchema=SETTINGS, permissions=PERMISSIONS)


@pytest.fixture
async def installed(owner: Client, plugin_id: str, worker: FakeWorker) -> str:
    """An installation of the whole organization, which has the regions north (n1, n2) and south (s1)."""
    found = await owner.install(plugin_id, config={"label": "all"}, grants=["sale:read", "customer:read"])
    for region, stores in (("north", ["n1", "n2"]), ("south", ["s1"])):
        made = await owner.put(f"/regions/{region}", {"name": region.title(), "stores": stores})
        assert made.status_code == 200, made.text
    identity: str = found["id"]
    return identity


async def override(caller: Client, installed: str, place: str, **members: Any) -> None:
    answer = await caller.put(f"/{installed}/overrides/{place}", members)
    assert answer.status_code == 200, answer.text


def refusal(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def effective(caller: Client, installed: str, store: str | None = None) -> dict[str, Any]:
    answer = await caller.get(f"/{installed}/effective", **({} if store is None else {"storeId": store}))
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def settings(document: dict[str, Any]) -> dict[str, tuple[Any, str]]:
    return {name: (found["value"], found["origin"]) for name, found in document["settings"].items()}


async def announced(bootstrap: str, installed: str, revision: int) -> Installation:
    """The installation as the workers know it, in this revision."""
    async with following(bootstrap) as topic:
        found = await topic.until(lambda each: each.key == installed and each.revision == revision)
    assert found.installation is not None
    return found.installation


async def test_every_value_says_where_it_comes_from(owner: Client, installed: str) -> None:
    await override(
        owner, installed, "regions/north", config={"rate": 2, "least": 3}, grants={"customer:personal-data": True}
    )
    await override(owner, installed, "stores/n1", config={"least": 4}, removed=["label"], grants={"sale:read": False})
    whole = await effective(owner, installed)
    assert settings(whole) == {"label": ("all", "organization"), "rate": (1, "default")}
    assert settings(await effective(owner, installed, "n2")) == {
        "label": ("all", "organization"),
        "least": (3, "region:north"),
        "rate": (2, "region:north"),
    }
    n1 = await effective(owner, installed, "n1")
    assert settings(n1) == {"least": (4, "store:n1"), "rate": (2, "region:north")}
    assert (n1["storeId"], n1["regionId"]) == ("n1", "north")
    assert n1["grants"] == {
        "sale:read": {"granted": False, "origin": "store:n1"},
        "customer:read": {"granted": True, "origin": "organization"},
        "customer:personal-data": {"granted": True, "origin": "region:north"},
    }
    assert settings(await effective(owner, installed, "s1")) == settings(whole)
    assert (await effective(owner, installed, "s1"))["regionId"] == "south"


async def test_the_workers_are_told_what_the_answers_say_of_every_store(
    owner: Client, installed: str, registry_bootstrap: str
) -> None:
    await override(owner, installed, "regions/north", config={"rate": 2}, grants={"customer:personal-data": True})
    await override(owner, installed, "stores/n1", config={"least": 4}, removed=["rate"], grants={"sale:read": False})
    revision = (await owner.read(installed))["revision"]
    told = await announced(registry_bootstrap, installed, revision)
    for store in ("n1", "n2", "s1", "unknown"):
        shown = await effective(owner, installed, store)
        here = told.at(store)
        assert here.config == {name: value for name, (value, _) in settings(shown).items()}
        assert set(here.grants) == {name for name, found in shown["grants"].items() if found["granted"]}
    assert told.at("n1").config == {"label": "all", "least": 4, "rate": 1}
    assert told.at("unknown") is told


async def test_what_is_overridden_no_more_is_as_it_is_further_up(
    owner: Client, installed: str, registry_bootstrap: str
) -> None:
    await override(owner, installed, "regions/north", config={"rate": 2})
    await override(owner, installed, "stores/n1", config={"rate": 3})
    assert (await owner.delete(f"/{installed}/overrides/stores/n1")).status_code == 204
    assert settings(await effective(owner, installed, "n1"))["rate"] == (2, "region:north")
    assert (await owner.delete(f"/{installed}/overrides/regions/north")).status_code == 204
    assert settings(await effective(owner, installed, "n1"))["rate"] == (1, "default")
    told = await announced(registry_bootstrap, installed, (await owner.read(installed))["revision"])
    assert told.variants == ()
    gone = await owner.delete(f"/{installed}/overrides/stores/n1")
    assert refusal(gone) == (404, "override_not_found")


async def test_a_store_that_changes_its_region_has_what_the_new_one_has(
    owner: Client, installed: str, registry_bootstrap: str
) -> None:
    await override(owner, installed, "regions/north", config={"rate": 2})
    await override(owner, installed, "regions/south", config={"rate": 3})
    both = await owner.put("/regions/south", {"name": "South", "stores": ["s1", "n2"]})
    assert refusal(both) == (409, "store_in_other_region")
    await owner.put("/regions/north", {"name": "North", "stores": ["n1"]})
    await owner.put("/regions/south", {"name": "South", "stores": ["s1", "n2"]})
    assert settings(await effective(owner, installed, "n2"))["rate"] == (3, "region:south")
    told = await announced(registry_bootstrap, installed, (await owner.read(installed))["revision"])
    assert {store: told.at(store).config["rate"] for store in ("n1", "n2", "s1")} == {"n1": 2, "n2": 3, "s1": 3}


async def test_an_override_that_the_schema_does_not_allow_in_some_place_is_refused(
    owner: Client, installed: str
) -> None:
    wrong = await owner.put(f"/{installed}/overrides/regions/north", {"config": {"rate": -1}})
    assert refusal(wrong) == (422, "invalid_places")
    assert [(error["place"], error["path"]) for error in wrong.json()["errors"]] == [("region:north", "$.rate")]
    await override(owner, installed, "stores/n1", config={"label": "cheap"})
    together = await owner.put(f"/{installed}/overrides/regions/north", {"config": {"rate": 9}})
    assert {error["place"] for error in together.json()["errors"]} == {"store:n1"}
    assert settings(await effective(owner, installed, "n2"))["rate"] == (1, "default")


async def test_an_organizations_configuration_must_do_in_every_place(owner: Client, installed: str) -> None:
    await override(owner, installed, "stores/n1", config={"label": "cheap"})
    refused = await owner.put(f"/{installed}/config", {"config": {"rate": 9}})
    assert refusal(refused) == (422, "invalid_places")
    assert "store:n1" in refused.json()["detail"]
    assert (await owner.read(installed))["config"] == {"label": "all", "rate": 1}
    assert (await owner.put(f"/{installed}/config", {"config": {"rate": 4}})).status_code == 200
    assert settings(await effective(owner, installed, "n1")) == {
        "label": ("cheap", "store:n1"),
        "rate": (4, "organization"),
    }


async def test_stores_that_a_region_would_make_wrong_cannot_join_it(owner: Client, installed: str) -> None:
    await override(owner, installed, "regions/north", config={"rate": 9})
    await override(owner, installed, "stores/x", config={"label": "cheap"})
    refused = await owner.put("/regions/north", {"name": "North", "stores": ["n1", "n2", "x"]})
    assert refusal(refused) == (422, "invalid_places")
    assert (await owner.get("/regions/north")).json()["stores"] == ["n1", "n2"]


async def test_taking_away_what_another_override_needs_is_refused(owner: Client, installed: str) -> None:
    assert (await owner.put(f"/{installed}/config", {"config": {"rate": 9}})).status_code == 200
    await override(owner, installed, "regions/north", config={"rate": 2})
    await override(owner, installed, "stores/n1", config={"label": "cheap"})
    refused = await owner.delete(f"/{installed}/overrides/regions/north")
    assert refusal(refused) == (422, "invalid_places")


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"grants": {"notify:send": True}}, "invalid_override"),
        ({"config": {"rate": 2}, "removed": ["rate"]}, "invalid_override"),
        ({"config": {"unknown": 1}}, "invalid_places"),
        ({"config": {"apiKey": {"set": True}}}, "invalid_config"),
        ({"config": {"apiKey": {"sealed": "1.000000000000.AAAA"}}}, "invalid_override"),
        ({"more": 1}, "invalid_request"),
    ],
)
async def test_what_the_plugin_does_not_have_cannot_be_overridden(
    owner: Client, installed: str, members: dict[str, Any], code: str
) -> None:
    assert refusal(await owner.put(f"/{installed}/overrides/stores/n1", members)) == (422, code)
    assert (await owner.get(f"/{installed}/overrides")).json() == {"items": []}


async def test_a_secret_of_a_region_is_sealed_for_the_installation_and_never_shown(
    registry: LocalRegistry, owner: Client, installed: str, registry_bootstrap: str
) -> None:
    short = await owner.put(f"/{installed}/overrides/regions/north", {"config": {"apiKey": "sk-no"}})
    assert refusal(short) == (422, "invalid_places")
    assert "sk-no" not in short.text
    made = await owner.put(f"/{installed}/overrides/regions/north", {"config": {"apiKey": SECRET}})
    kept = await owner.put(f"/{installed}/overrides/regions/north", {"config": {"apiKey": {"set": True}, "rate": 2}})
    shown = await owner.get(f"/{installed}/effective", storeId="n1")
    assert [answer.status_code for answer in (made, kept, shown)] == [200, 200, 200]
    assert SECRET not in made.text + kept.text + shown.text
    assert shown.json()["settings"]["apiKey"] == {"value": {"set": True}, "origin": "region:north"}
    told = await announced(registry_bootstrap, installed, (await owner.read(installed))["revision"])
    place = SecretPlace(told.organization_id, told.plugin_id, told.id, "apiKey")
    assert registry.settings.keys().open(told.at("n2").config["apiKey"], place) == SECRET
    assert "apiKey" not in told.at("s1").config
    connection = await asyncpg.connect(registry.settings.registry_database_url)
    stored = await connection.fetchval("SELECT config::text FROM installation_override WHERE place_id = 'north'")
    await connection.close()
    assert SECRET not in stored


async def test_a_store_may_withhold_for_itself_and_grants_itself_nothing(owner: Client, installed: str) -> None:
    bound = owner.also("admin", store="n1")
    path = f"/{installed}/overrides/stores/n1"
    more = await bound.put(path, {"grants": {"customer:personal-data": True}})
    assert refusal(more) == (403, "grant_is_the_organizations")
    await override(bound, installed, "stores/n1", config={"rate": 3}, grants={"sale:read": False})
    back = [await bound.put(path, {"grants": {}}), await bound.delete(path)]
    assert [refusal(answer) for answer in back] == [(403, "grant_is_the_organizations")] * 2
    await override(owner, installed, "stores/n1", grants={"customer:personal-data": True})
    await override(bound, installed, "stores/n1", grants={"customer:personal-data": True, "customer:read": False})
    assert (await effective(bound, installed))["grants"]["customer:read"] == {"granted": False, "origin": "store:n1"}


async def test_a_stores_token_changes_and_sees_no_other_place(owner: Client, installed: str) -> None:
    await override(owner, installed, "regions/south", config={"rate": 2})
    await override(owner, installed, "stores/n2", config={"rate": 2})
    await override(owner, installed, "stores/n1", config={"rate": 3})
    bound = owner.also("admin", store="n1")
    answers = [
        await bound.put(f"/{installed}/overrides/stores/n2", {}),
        await bound.delete(f"/{installed}/overrides/stores/n2"),
        await bound.put(f"/{installed}/overrides/regions/north", {}),
        await bound.put("/regions/north", {"name": "Mine", "stores": ["n1"]}),
        await bound.delete("/regions/north"),
        await bound.get(f"/{installed}/effective", storeId="n2"),
    ]
    assert [refusal(answer) for answer in answers] == [(403, "wrong_store")] * 6
    assert [item["placeId"] for item in (await bound.get(f"/{installed}/overrides")).json()["items"]] == ["n1"]
    assert (await bound.get("/regions")).json()["items"] == [{"id": "north", "name": "North", "stores": ["n1"]}]
    assert (await bound.get("/regions/south")).status_code == 404


async def test_another_organization_has_neither_its_regions_nor_its_overrides(
    registry: LocalRegistry, owner: Client, installed: str
) -> None:
    stranger = registry.caller("owner")
    answers = [
        await stranger.put(f"/{installed}/overrides/stores/n1", {"config": {"rate": 5}}),
        await stranger.delete(f"/{installed}/overrides/stores/n1"),
        await stranger.get(f"/{installed}/overrides"),
        await stranger.get(f"/{installed}/effective", storeId="n1"),
    ]
    assert [refusal(answer) for answer in answers] == [(404, "installation_not_found")] * 4
    assert (await stranger.get("/regions")).json()["items"] == []
    assert (await stranger.put("/regions/north", {"name": "Theirs", "stores": ["n1"]})).status_code == 200
    assert (await owner.get("/regions/north")).json() == {"id": "north", "name": "North", "stores": ["n1", "n2"]}


@pytest.mark.parametrize(("role", "sees"), [("manager", 200), ("cashier", 403)])
async def test_managers_see_and_only_owners_and_admins_change(
    owner: Client, installed: str, role: str, sees: int
) -> None:
    other = owner.also(role)
    changes = [
        await other.put(f"/{installed}/overrides/stores/n1", {}),
        await other.delete(f"/{installed}/overrides/stores/n1"),
        await other.put("/regions/north", {"name": "North", "stores": []}),
        await other.delete("/regions/north"),
    ]
    assert [answer.status_code for answer in changes] == [403] * 4
    reads = [await other.get(path) for path in ("/regions", f"/{installed}/overrides", f"/{installed}/effective")]
    assert [answer.status_code for answer in reads] == [sees] * 3


async def test_an_installation_of_one_store_has_nothing_further_down(
    owner: Client, plugin_id: str, worker: FakeWorker
) -> None:
    found = await owner.install(plugin_id, storeId="n1", config={"label": "mine"})
    refused = await owner.put(f"/{found['id']}/overrides/stores/n1", {})
    assert refusal(refused) == (409, "store_installation")
    assert settings(await effective(owner, found["id"]))["label"] == ("mine", "store:n1")
    elsewhere = await owner.get(f"/{found['id']}/effective", storeId="n2")
    assert refusal(elsewhere) == (404, "not_in_effect")


async def test_a_region_that_is_overridden_for_stays_and_one_that_is_not_known_cannot_be(
    owner: Client, installed: str
) -> None:
    await override(owner, installed, "regions/north", config={"rate": 2})
    assert refusal(await owner.delete("/regions/north")) == (409, "region_in_use")
    unknown = await owner.put(f"/{installed}/overrides/regions/west", {})
    assert refusal(unknown) == (404, "region_not_found")
    await owner.delete(f"/{installed}/overrides/regions/north")
    assert (await owner.delete("/regions/north")).status_code == 204
    assert refusal(await owner.get("/regions/north")) == (404, "region_not_found")


async def test_what_is_uninstalled_leaves_no_override(registry: LocalRegistry, owner: Client, installed: str) -> None:
    await override(owner, installed, "regions/north", config={"rate": 2})
    assert (await owner.delete(f"/{installed}")).status_code == 204
    assert (await owner.delete("/regions/north")).status_code == 204


async def test_more_overrides_than_one_record_holds_are_refused(
    registry: LocalRegistry, owner: Client, worker: FakeWorker
) -> None:
    many = {f"n{number}": {"type": "string"} for number in range(30)}
    plugin_id = await registry.publish(settingsSchema={"type": "object", "properties": many})
    found = await owner.install(plugin_id)
    config = dict.fromkeys(many, "x" * 2000)
    answers = [await owner.put(f"/{found['id']}/overrides/stores/s{n}", {"config": config}) for n in range(7)]
    assert [answer.status_code for answer in answers] == [200] * 6 + [422]
    assert answers[-1].json()["code"] == "too_many_overrides"


async def test_a_plugin_cannot_set_what_would_be_wrong_in_some_place(
    owner: Client, installed: str, registry_bootstrap: str
) -> None:
    await override(owner, installed, "stores/n1", config={"label": "cheap"})
    await override(owner, installed, "stores/n2", config={"rate": 2})
    await send(
        registry_bootstrap, change(installed, "rate", 9), change(installed, "rate", 3), change(installed, "least", 1)
    )
    found = await until_config(owner, installed, rate=3, least=1)
    assert [error["code"] for error in found["errors"]] == ["invalid_config"]
    assert "store:n1" in found["errors"][0]["message"]
    assert settings(await effective(owner, installed, "n2"))["rate"] == (2, "store:n2")
    assert settings(await effective(owner, installed, "n1"))["rate"] == (3, "organization")


async def test_a_lifecycle_hook_that_sets_what_would_be_wrong_in_some_place_has_failed(
    owner: Client, installed: str, worker: FakeWorker
) -> None:
    await override(owner, installed, "stores/n1", config={"label": "cheap"})
    worker.behaviour = sets_config({"rate": 9})
    refused = (await owner.post(f"/{installed}/activate")).json()
    assert (refused["code"], refused["pluginCode"]) == ("lifecycle_hook_failed", "plugin_bad_result")
    assert "store:n1" in refused["pluginMessage"]
    worker.behaviour = sets_config({"rate": 4})
    assert (await owner.post(f"/{installed}/activate")).status_code == 200
    assert settings(await effective(owner, installed, "n1"))["rate"] == (4, "organization")


async def test_nothing_is_overridden_while_an_operation_runs_or_before_one_succeeded(
    owner: Client, installed: str, plugin_id: str, worker: FakeWorker, registry: LocalRegistry
) -> None:
    await override(owner, installed, "regions/north", config={"rate": 2})
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def slow(hook: str, told: Installation) -> Any:
        asked.set()
        await go_on.wait()
        return await SUCCEEDS(hook, told)

    worker.behaviour = slow
    activating = asyncio.create_task(owner.post(f"/{installed}/activate"))
    await asyncio.wait_for(asked.wait(), 10)
    answers = [
        await owner.put(f"/{installed}/overrides/stores/n1", {}),
        await owner.put("/regions/north", {"name": "North", "stores": []}),
    ]
    go_on.set()
    assert (await activating).status_code == 200
    assert [refusal(answer) for answer in answers] == [(409, "operation_in_progress")] * 2
    worker.behaviour = FAILS
    failed = (await owner.try_install(await registry.publish())).json()["installationId"]
    assert refusal(await owner.put(f"/{failed}/overrides/stores/n1", {})) == (409, "not_installed")


async def test_changes_at_the_same_time_are_all_in_effect_or_refused(owner: Client, installed: str) -> None:
    paths = [f"/{installed}/overrides/stores/x{number}" for number in range(6)]
    bodies = [{"config": {"rate": number}} for number in range(6)]
    answers = await asyncio.gather(*(owner.put(path, body) for path, body in zip(paths, bodies, strict=True)))
    taken = {path.rpartition("/")[2] for path, answer in zip(paths, answers, strict=True) if answer.status_code == 200}
    others = {refusal(answer) for answer in answers if answer.status_code != 200}
    assert taken
    assert others <= {(409, "changed_meanwhile")}
    assert {each["placeId"] for each in (await owner.get(f"/{installed}/overrides")).json()["items"]} == taken


async def test_an_update_that_does_not_fit_some_place_is_refused_and_another_takes_the_overrides_along(
    registry: LocalRegistry, owner: Client, installed: str, plugin_id: str
) -> None:
    await override(owner, installed, "stores/n1", config={"rate": 7})
    rates = {**SETTINGS["properties"], "rate": {"type": "number", "maximum": 5, "default": 1}}
    await registry.publish(
        plugin_id, "1.1.0", settingsSchema={**SETTINGS, "properties": rates}, permissions=PERMISSIONS
    )
    refused = await owner.post(f"/{installed}/update", {"version": "1.1.0"})
    assert refusal(refused) == (422, "invalid_places")
    assert [error["place"] for error in refused.json()["errors"]] == ["store:n1"]
    await override(owner, installed, "stores/n1", config={"rate": 4})
    updated = await owner.post(f"/{installed}/update", {"version": "1.1.0"})
    assert updated.status_code == 200, updated.text
    assert settings(await effective(owner, installed, "n1"))["rate"] == (4, "store:n1")


async def test_the_audit_log_has_what_was_overridden_and_the_personal_data_that_a_region_had_given(
    owner: Client, installed: str
) -> None:
    await override(owner, installed, "regions/north", grants={"customer:personal-data": True})
    await override(owner, installed, "stores/n1", config={"apiKey": SECRET})
    await override(owner, installed, "stores/n1", grants={"customer:personal-data": False})
    answer = await owner.get("/audit")
    assert SECRET not in answer.text
    entries = answer.json()["items"]
    assert {"region.set", "override.set"} <= {entry["action"] for entry in entries}
    personal = [entry for entry in entries if entry["action"].startswith("personal-data")]
    assert [entry["about"]["place"] for entry in sorted(personal, key=lambda entry: entry["at"])] == [
        "region:north",
        "store:n1",
    ]
