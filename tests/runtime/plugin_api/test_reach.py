"""What one store withholds of the stores' data stays hidden from code that runs anywhere else, and only that."""

from typing import Any, TypeAlias

import asyncpg
import msgspec
import pytest

from services.common.directory import Installation, Variant
from services.runtime.plugin_api.errors import ApiRefusal
from tests.runtime.installations import installation
from tests.runtime.plugin_api.sessions import Calls
from tests.runtime.plugin_api.test_models import EVERYTHING, PLAIN, publish

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

ALL: dict[str, Any] = {"model": "customer", "sort": ["id"]}


def varied(base: tuple[str, ...], **stores: tuple[str, ...]) -> Installation:
    """An installation of the organization with these grants, and others in some stores."""
    variants = tuple(Variant(place=f"store:{name}", stores=(name,), grants=own) for name, own in stores.items())
    return msgspec.structs.replace(installation(grants=base), variants=variants)


def without(*missing: str, of: tuple[str, ...] = EVERYTHING) -> tuple[str, ...]:
    return tuple(name for name in of if name not in missing)


@pytest.fixture
async def calls(runtime_pool: Pool) -> Calls:
    for store, name in (("s1", "Ada"), ("s2", "Ben"), ("s3", "Cleo")):
        await publish(runtime_pool, "customer.created", {"id": f"c-{store}", "name": name, "tier": "gold"}, store=store)
    return Calls(runtime_pool)


def seen(answer: Any) -> dict[str, Any]:
    return {item["storeId"]: item.get("name") for item in answer["items"]}


@pytest.mark.parametrize("place", ["s1", "s3", None])
async def test_a_model_withheld_in_one_store_is_not_read_there_from_anywhere(calls: Calls, place: str | None) -> None:
    found = varied(EVERYTHING, s2=without("customer:read")).at(place)
    assert seen(await calls(found, ("models.find", ALL), store=place)) == {"s1": "Ada", "s3": "Cleo"}
    for arguments in ({"id": "c-s2"}, {"id": "c-s2", "store": "s2"}):
        assert await calls(found, ("models.get", {"model": "customer", **arguments}), store=place) is None
    (group,) = await calls(found, ("models.aggregate", {"model": "customer"}), store=place)
    assert group["count"] == 2


async def test_code_that_runs_where_it_is_withheld_is_refused_and_elsewhere_it_is_not(calls: Calls) -> None:
    found = varied(EVERYTHING, s2=without("customer:read"))
    with pytest.raises(ApiRefusal, match="customer:read is needed") as refusal:
        await calls(found.at("s2"), ("models.find", ALL), store="s2")
    assert refusal.value.code == "permission_denied"
    assert len(seen(await calls(found.at("s1"), ("models.find", ALL), store="s1"))) == 2


async def test_what_one_store_alone_grants_opens_no_other_store(calls: Calls) -> None:
    found = varied(without("customer:read"), s2=EVERYTHING)
    assert seen(await calls(found.at("s2"), ("models.find", ALL), store="s2")) == {"s2": "Ben"}
    with pytest.raises(ApiRefusal, match="customer:read"):
        await calls(found.at("s1"), ("models.find", ALL), store="s1")


async def test_personal_data_withheld_in_one_store_is_absent_from_its_documents_alone(calls: Calls) -> None:
    found = varied(EVERYTHING, s2=PLAIN)
    elsewhere = seen(await calls(found.at("s1"), ("models.find", ALL), store="s1"))
    assert elsewhere == {"s1": "Ada", "s2": None, "s3": "Cleo"}
    there = seen(await calls(found.at("s2"), ("models.find", ALL), store="s2"))
    assert there == {"s1": None, "s2": None, "s3": None}


@pytest.mark.parametrize(
    "arguments",
    [
        {"where": {"name": "Ben"}},
        {"where": {"or": [{"tier": "none"}, {"name": {"contains": "en"}}]}},
        {"where": {"name": {"ne": None}, "storeId": "s2"}},
        {"where": {"storeId": "s2"}, "sort": ["name"]},
    ],
)
async def test_withheld_personal_data_cannot_be_guessed_by_filters_and_orders_of_another_store(
    calls: Calls, arguments: dict[str, Any]
) -> None:
    found = varied(EVERYTHING, s2=PLAIN).at("s1")
    assert seen(await calls(found, ("models.find", {"model": "customer", **arguments}), store="s1")) == {}


async def test_withheld_personal_data_is_in_no_group_and_no_function(calls: Calls) -> None:
    found = varied(EVERYTHING, s2=PLAIN).at("s1")
    groups = await calls(found, ("models.aggregate", {"model": "customer", "group_by": ["name"]}), store="s1")
    assert [group["name"] for group in groups] == ["Ada", "Cleo"]
    (total,) = await calls(found, ("models.aggregate", {"model": "customer", "group_by": ["tier"]}), store="s1")
    assert total["count"] == 3


async def test_what_may_not_be_changed_in_one_store_is_changed_from_no_other(calls: Calls) -> None:
    found = varied(EVERYTHING, s2=without("customer:update", "customer:delete", "customer:create")).at("s1")
    target = {"model": "customer", "id": "c-s2", "store": "s2"}
    assert await calls(found, ("models.update", {**target, "values": {"tier": "none"}}), store="s1") is None
    assert await calls(found, ("models.delete", target), store="s1") is False
    with pytest.raises(ApiRefusal, match="customer:create"):
        await calls(found, ("models.create", {"model": "customer", "values": {}, "store": "s2"}), store="s1")
    assert (await calls(found, ("models.get", target), store="s1"))["tier"] == "gold"


async def test_personal_data_withheld_in_one_store_is_not_written_there_from_another(calls: Calls) -> None:
    found = varied(EVERYTHING, s2=PLAIN).at("s1")
    change = {"model": "customer", "id": "c-s2", "store": "s2", "values": {"name": "Eve"}}
    with pytest.raises(ApiRefusal, match="personal data"):
        await calls(found, ("models.update", change), store="s1")
    own = {"model": "customer", "id": "c-s1", "store": "s1", "values": {"name": "Eve"}}
    assert (await calls(found, ("models.update", own), store="s1"))["name"] == "Eve"
