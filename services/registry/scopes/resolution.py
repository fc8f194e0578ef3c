"""From the overrides of regions and stores to what is in effect in each place, and why."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec

from outlet.manifest import Manifest
from services.common.directory import Variant
from services.common.errors import Unprocessable
from services.common.secret_settings import is_sealed
from services.registry.configuration import complete_config, with_defaults
from services.registry.scopes.models import InstallationOverride

MAX_VARIANTS_BYTES = 384 * 1024
"""Of the variants of one installation as they are published: a record on Kafka has a megabyte at most."""
SHOWN_FAULTS = 20

Stores: TypeAlias = Mapping[str, str]
"""The region by store."""


@dataclass(frozen=True, slots=True)
class Layers:
    """The overrides of one installation, by place."""

    regions: dict[str, InstallationOverride]
    stores: dict[str, InstallationOverride]

    @classmethod
    def of(cls, overrides: Sequence[InstallationOverride]) -> "Layers":
        by_level: dict[str, dict[str, InstallationOverride]] = {"region": {}, "store": {}}
        for override in overrides:
            by_level[override.level][override.place_id] = override
        return cls(by_level["region"], by_level["store"])

    def at(self, region: str | None, store: str | None) -> list[InstallationOverride]:
        """What is in effect in a place, the region's first."""
        found = (self.regions.get(region or ""), self.stores.get(store or ""))
        return [override for override in found if override is not None]


def origin(override: InstallationOverride) -> str:
    """``region:<id>`` or ``store:<id>``."""
    return f"{override.level}:{override.place_id}"


def granted(grants: Collection[str], layers: Sequence[InstallationOverride], manifest: Manifest) -> tuple[str, ...]:
    """What is granted where these overrides are in effect, and ``grants`` is what the organization granted."""
    decided = dict.fromkeys(grants, True)
    for layer in layers:
        decided |= layer.grants
    return tuple(name for name in manifest.wanted_grants() if decided.get(name, False))


def variants_of(
    grants: Collection[str], overrides: Sequence[InstallationOverride], regions: Stores, manifest: Manifest
) -> tuple[Variant, ...]:
    """The variants of an installation: one for each override, also of a region that has no store at present.

    ``grants`` is what the organization granted; ``regions`` are those of the stores that matter: of every region with
    an override, and of every store with one.
    """
    layers = Layers.of(overrides)
    found = []

    def variant(override: InstallationOverride, stores: tuple[str, ...], here: list[InstallationOverride]) -> Variant:
        config, removed = _settings(here, manifest)
        own = granted(grants, here, manifest) if any(layer.grants for layer in here) else None
        return Variant(place=origin(override), stores=stores, config=config, removed=removed, grants=own)

    for region, override in layers.regions.items():
        stores = tuple(sorted(store for store, of in regions.items() if of == region and store not in layers.stores))
        found.append(variant(override, stores, [override]))
    for store, override in layers.stores.items():
        found.append(variant(override, (store,), layers.at(regions.get(store), store)))
    return tuple(found)


def _settings(layers: list[InstallationOverride], manifest: Manifest) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The settings that take the place of the organization's, and those that are not set."""
    config: dict[str, Any] = {}
    removed: set[str] = set()
    for layer in layers:
        config = {name: value for name, value in config.items() if name not in layer.removed} | layer.config
        removed = (removed | set(layer.removed)) - layer.config.keys()
    schema = manifest.settings_schema
    defaults = with_defaults({}, schema)
    completed = with_defaults(config, schema)
    # A setting that is removed has its default, and one that nobody names here has what the organization gave it.
    config = {name: completed[name] for name in completed if name in config or name in removed}
    return config, tuple(sorted(removed - defaults.keys()))


async def check_variants(config: dict[str, Any], manifest: Manifest, variants: Collection[Variant]) -> None:
    """Refuse an organization's configuration, complete and checked itself, that does not do in every place.

    Raises Unprocessable (``invalid_places`` or ``too_many_overrides``).
    """
    if len(msgspec.json.encode(variants)) > MAX_VARIANTS_BYTES:
        raise Unprocessable(
            f"The overrides of this installation take more than {MAX_VARIANTS_BYTES} bytes together.",
            code="too_many_overrides",
            remedy="Override for regions what is alike in their stores.",
            errors=[],
        )
    secrets = manifest.secret_settings()
    errors: list[dict[str, Any]] = []
    for variant in variants:
        whole = variant.over(config)
        sealed = [name for name in secrets if is_sealed(whole.get(name))]
        try:
            await complete_config(whole, manifest.settings_schema, secrets=secrets, sealed=sealed)
        except Unprocessable as error:
            errors += [{"place": variant.place, **fault} for fault in error.members["errors"]]
        if len(errors) >= SHOWN_FAULTS:
            break
    if errors:
        places = list(dict.fromkeys(error["place"] for error in errors))
        raise Unprocessable(
            f"The configuration does not match the plugin's settings schema in {', '.join(places)}.",
            code="invalid_places",
            remedy="Change what these places override, or the configuration.",
            errors=errors[:SHOWN_FAULTS],
        )
