"""JSON Schema for plugins: exact, and never a way to keep the worker busy."""

import time
from decimal import Decimal
from typing import Any, TypeAlias

import asyncpg
import pytest

from services.runtime.plugin_api.errors import ApiRefusal
from tests.runtime.installations import installation
from tests.runtime.plugin_api.sessions import Calls

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
SALE = {
    "type": "object",
    "required": ["id", "total"],
    "properties": {
        "id": {"type": "string", "pattern": "^s-[0-9]+$"},
        "total": {"type": "number", "minimum": 0, "multipleOf": 0.01},
        "items": {"type": "array", "uniqueItems": True, "items": {"type": "integer"}},
    },
}


@pytest.fixture
def calls(runtime_pool: Pool) -> Calls:
    return Calls(runtime_pool)


async def check(calls: Calls, data: Any, schema: dict[str, Any]) -> Any:
    return await calls(installation(), ("validation.check", {"data": data, "schema": schema}))


async def refusal(calls: Calls, data: Any, schema: dict[str, Any]) -> str:
    with pytest.raises(ApiRefusal) as refused:
        await check(calls, data, schema)
    return refused.value.code


async def test_a_document_that_keeps_to_its_schema_has_no_faults(calls: Calls) -> None:
    assert await check(calls, {"id": "s-1", "total": Decimal("19.90"), "items": [1, Decimal("2.0")]}, SALE) == []


async def test_every_fault_is_named_with_its_path(calls: Calls) -> None:
    data = {"id": "x", "total": Decimal("0.005"), "items": [1, 1, "2"]}
    assert {path for path, _ in await check(calls, data, SALE)} == {"$.id", "$.total", "$.items", "$.items[2]"}
    assert (await check(calls, [], SALE))[0][0] == "$"


@pytest.mark.parametrize(
    ("items", "alike"), [([1, True], False), ([1, Decimal("1.0")], True), ([{"a": [1]}, {"a": [1]}], True)]
)
async def test_items_are_compared_by_value(calls: Calls, items: list[Any], alike: bool) -> None:
    assert bool(await check(calls, items, {"uniqueItems": True})) is alike


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "no-such-type"},
        {"$ref": "http://127.0.0.1/"},
        {"anyOf": [{"$ref": "#"}]},
        {"patternProperties": {"a": {}}},
        {"properties": {"a": {"pattern": "(a+)+$"}}},
        {"unevaluatedProperties": False},
    ],
)
async def test_schemas_that_are_none_or_unsafe_are_refused(calls: Calls, schema: dict[str, Any]) -> None:
    assert await refusal(calls, {}, schema) == "invalid_schema"


@pytest.mark.parametrize(
    ("data", "schema"),
    [
        (list(range(10_000)), {"items": {"allOf": [{"type": "integer"}] * 500}}),
        ("x" * 60_000, {"anyOf": [{"const": number} for number in range(700)]}),
        ([[]] * 10_000, {"items": {"enum": list(range(1_000))}}),
    ],
    ids=["many items", "long text in many faults", "long enumeration"],
)
async def test_what_would_take_long_is_refused_at_once(calls: Calls, data: Any, schema: dict[str, Any]) -> None:
    began = time.perf_counter()
    assert await refusal(calls, data, schema) == "too_much_to_validate"
    assert time.perf_counter() - began < 1


async def test_the_most_that_is_let_through_is_quick(calls: Calls) -> None:
    schema = {"items": {"allOf": [{"type": "integer", "minimum": 0}] * 20}, "uniqueItems": True}
    began = time.perf_counter()
    assert await check(calls, list(range(1_200)), schema) == []
    assert time.perf_counter() - began < 5


async def test_numbers_beyond_reckoning_are_refused(calls: Calls) -> None:
    assert await refusal(calls, Decimal("1E+900"), {"multipleOf": Decimal("1E-900")}) == "invalid_value"
