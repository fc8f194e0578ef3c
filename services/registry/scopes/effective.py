"""Every value that is in effect in a place, with where it comes from."""

from collections.abc import Sequence

from outlet.manifest import Manifest
from services.registry.configuration import same, with_defaults
from services.registry.models import Installation
from services.registry.scopes.models import InstallationOverride
from services.registry.scopes.resolution import origin
from services.registry.scopes.schemas import EffectiveGrant, EffectiveSetting
from services.registry.secret_settings import masked

DEFAULT = "default"


def home(installation: Installation) -> str:
    """What stands for the level that an installation itself is at."""
    return "organization" if installation.store_id is None else f"store:{installation.store_id}"


def effective_settings(
    installation: Installation, manifest: Manifest, layers: Sequence[InstallationOverride]
) -> dict[str, EffectiveSetting]:
    """The settings by name, secrets masked.

    A configuration is kept with its defaults, so a value that is the schema's default counts as such.
    """
    schema = manifest.settings_schema
    defaults = with_defaults({}, schema)
    config, origins = dict(installation.config), dict.fromkeys(installation.config, home(installation))
    for layer in layers:
        for name in layer.removed:
            config.pop(name, None)
        config |= layer.config
        origins |= dict.fromkeys(layer.config, origin(layer))
    for name, value in defaults.items():
        if name not in config or (origins[name] == home(installation) and same(config[name], value)):
            origins[name] = DEFAULT
    shown = masked(with_defaults(config, schema), manifest.secret_settings())
    return {name: EffectiveSetting(value=value, origin=origins[name]) for name, value in sorted(shown.items())}


def effective_grants(
    installation: Installation, manifest: Manifest, layers: Sequence[InstallationOverride]
) -> dict[str, EffectiveGrant]:
    """Of everything that the plugin asks for, in the order in which it does."""
    found: dict[str, EffectiveGrant] = {}
    for name in manifest.wanted_grants():
        decided: tuple[bool, str] = name in installation.grants, home(installation)
        for layer in layers:
            if name in layer.grants:
                decided = layer.grants[name], origin(layer)
        found[name] = EffectiveGrant(granted=decided[0], origin=decided[1])
    return found
