"""Settings that the platform keeps from the plugin: where they may be declared, and what the plugin gets instead."""

from typing import Any

import pytest

from outlet import Api, Secret
from outlet.manifest import Manifest, ManifestError, check

SECRET = {"type": "string", "format": "secret"}


def manifest(settings: dict[str, Any]) -> Manifest:
    return Manifest(
        plugin_id="p",
        name="P",
        version="1.0.0",
        author="A",
        description="d",
        entry="p:plugin",
        settings_schema=settings,
    )


def test_a_secret_is_a_string_setting_at_the_top_level() -> None:
    found = manifest({"type": "object", "properties": {"apiKey": SECRET, "region": {"type": "string"}}})
    check(found)
    assert found.secret_settings() == ("apiKey",)
    assert manifest({}).secret_settings() == ()


@pytest.mark.parametrize(
    "settings",
    [
        {"properties": {"account": {"type": "object", "properties": {"key": SECRET}}}},
        {"properties": {"keys": {"type": "array", "items": SECRET}}},
        {"allOf": [{"properties": {"apiKey": SECRET}}]},
        {"additionalProperties": SECRET},
        {"$defs": {"key": SECRET}},
        {"properties": {"apiKey": {"format": "secret"}}},
        {"properties": {"apiKey": {**SECRET, "default": "hidden?"}}},
        {"properties": {"api key}}": SECRET}},
    ],
)
def test_a_secret_where_the_platform_does_not_look_for_it_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ManifestError, match=r"secret|name of letters"):
        check(manifest(settings))


def test_a_plugin_sees_a_placeholder_in_place_of_a_secret() -> None:
    api = Api(None, config={"region": "eu"}, secrets=("apiKey",))  # type: ignore[arg-type]
    assert api.get_config("region") == "eu"
    assert api.get_config("apiKey") == api.secret("apiKey") == Secret("apiKey")
    assert f"Bearer {api.get_config('apiKey')}" == "Bearer {{secret:apiKey}}"
