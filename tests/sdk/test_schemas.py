"""The published schemas are those of the types, and say no where the platform does."""

import json
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator

from outlet import manifest as manifests
from outlet import package, schemas

ROOT = Path(__file__).parents[2]
LOYALTY = ROOT / "plugins" / "loyalty_points"


@pytest.mark.parametrize("name", schemas.FILES)
def test_the_committed_schema_is_the_generated_one(name: str) -> None:
    committed = (ROOT / "docs" / "reference" / schemas.FILES[name]).read_bytes()
    assert committed == schemas.encoded(name), "run: python -m outlet.schemas docs/reference"


@pytest.mark.parametrize("name", schemas.FILES)
def test_it_is_a_schema_of_draft_2020_12(name: str) -> None:
    Draft202012Validator.check_schema(schemas.schema_of(name))


def test_a_plugin_keeps_to_both() -> None:
    described = tomllib.loads((LOYALTY / "plugin.toml").read_text())
    built = json.loads(manifests.encode(package.build(LOYALTY).manifest))
    assert not list(Draft202012Validator(schemas.schema_of("plugin.toml")).iter_errors(described))
    assert not list(Draft202012Validator(schemas.schema_of("manifest.json")).iter_errors(built))


@pytest.mark.parametrize(
    "change",
    [
        {"pluginId": "Loyalty"},
        {"version": "1"},
        {"entry": "x"},
        {"category": "none"},
        {"unknown": 1},
        {"tables": ["A"]},
        {"pool": "A"},
        {"permissions": [{"name": "all:read", "purpose": "x"}]},
        {"hooks": [{"event": "Sale"}]},
        {"routes": [{"method": "GET", "path": "x"}]},
        {"components": [{"injectionPoint": "Nowhere", "name": "x", "title": "x"}]},
        {"bundles": [{"name": "x", "integrity": "sha256-x", "bytes": 1, "compressedBytes": 1}]},
    ],
)
def test_what_the_schema_refuses_the_platform_refuses(change: dict[str, Any]) -> None:
    given = json.loads(manifests.encode(package.build(LOYALTY).manifest)) | change
    assert list(Draft202012Validator(schemas.schema_of("manifest.json")).iter_errors(given))
    with pytest.raises(manifests.ManifestError):
        manifests.decode(msgspec.json.encode(given))
