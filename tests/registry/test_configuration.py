import math
from typing import Any

import pytest

from services.common.errors import Unprocessable
from services.registry.configuration import InvalidSettingsSchema, check_settings_schema, complete_config

SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["currency"],
    "properties": {
        "currency": {"enum": ["EUR", "USD"]},
        "rate": {"type": "number", "default": 0.5},
        "mail": {"type": "object", "properties": {"from": {"type": "string", "default": "shop"}}},
        "code": {"type": "string", "pattern": "^[A-Z]+$"},
    },
}


async def refusal(config: dict[str, Any], schema: dict[str, Any]) -> list[dict[str, str]]:
    with pytest.raises(Unprocessable) as refused:
        await complete_config(config, schema)
    assert refused.value.problem_code == "invalid_config"
    errors: list[dict[str, str]] = refused.value.members["errors"]
    return errors


async def test_fills_in_defaults_also_within_objects() -> None:
    given = {"currency": "EUR", "mail": {}}
    assert await complete_config(given, SCHEMA) == {"currency": "EUR", "rate": 0.5, "mail": {"from": "shop"}}
    assert given == {"currency": "EUR", "mail": {}}


async def test_names_the_path_of_every_fault() -> None:
    errors = await refusal({"currency": "GBP", "mail": {"from": 1}, "code": "a", "other": 1}, SCHEMA)
    assert {error["path"] for error in errors} == {"$.currency", "$.mail.from", "$.code", "$"}


async def test_any_object_goes_with_an_empty_schema() -> None:
    assert await complete_config({"anything": [1, None]}, {}) == {"anything": [1, None]}


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, "\0", "\ud800", "x" * 70_000], ids=["nan", "infinity", "nul", "surrogate", "size"]
)
async def test_refuses_what_cannot_be_stored_or_sent(value: Any) -> None:
    errors = await refusal({"key": value}, {})
    assert errors[0]["path"] == "$"


async def test_refuses_what_is_nested_without_end() -> None:
    nested: list[Any] = []
    for _ in range(900):
        nested = [nested]
    errors = await refusal({"key": nested}, {})
    assert "levels deep" in errors[0]["message"]


async def test_a_long_text_is_refused_without_matching_it() -> None:
    errors = await refusal({"currency": "EUR", "code": "A" * 300}, SCHEMA)
    assert "longer than 200" in errors[0]["message"]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "number"},
        {"type": "no-such-type"},
        {"properties": {"a": {"$ref": "http://127.0.0.1/schema"}}},
        {"properties": {"a": {"anyOf": [{"$ref": "#"}]}}},
        {"patternProperties": {"a*": {}}},
        {"properties": {"a": {"type": "string", "pattern": "(a+)+$"}}},
        {"properties": {"a": {"type": "string", "default": 1}}},
    ],
)
def test_refuses_schemas_that_are_none_or_unsafe(schema: dict[str, Any]) -> None:
    with pytest.raises(InvalidSettingsSchema):
        check_settings_schema(schema)


def test_settings_may_be_named_like_keywords() -> None:
    check_settings_schema({"properties": {"pattern": {"type": "string"}, "$ref": {"const": {"$ref": "a value"}}}})
