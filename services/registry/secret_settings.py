"""Secret settings in the registry: sealed before they are stored, and shown as a mask."""

from collections.abc import Collection, Mapping
from typing import Any

from services.common.errors import Unprocessable
from services.common.secret_settings import SecretKeys, SecretPlace, is_sealed
from services.registry.models import Installation

MASK = {"set": True}
"""What stands for a secret in answers. In a request it means: keep the secret that is stored."""


def masked(config: Mapping[str, Any], secrets: Collection[str]) -> dict[str, Any]:
    """A configuration as it may be shown."""
    return {name: MASK if name in secrets else value for name, value in config.items()}


def with_kept(wanted: dict[str, Any], stored: Mapping[str, Any], kept: Collection[str]) -> dict[str, Any]:
    """``wanted`` with stored secrets in the place of masks. Raises Unprocessable (``invalid_config``)."""
    missing = [name for name in kept if name not in stored]
    if missing:
        raise Unprocessable(
            "A secret was to be kept that is not set.",
            code="invalid_config",
            errors=[{"path": f"$.{name}", "message": "no secret is stored: send its value"} for name in missing],
        )
    return {**wanted, **{name: stored[name] for name in kept}}


def masks(wanted: Mapping[str, Any], secrets: Collection[str]) -> list[str]:
    """The secrets that a request wants to keep."""
    return [name for name in secrets if wanted.get(name) == MASK]


def sealed(
    config: Mapping[str, Any], secrets: Collection[str], keys: SecretKeys, installation: Installation
) -> dict[str, Any]:
    """A configuration as it may be stored for this installation."""
    return {
        name: keys.seal(value, place_of(installation, name)) if name in secrets and not is_sealed(value) else value
        for name, value in config.items()
    }


def place_of(installation: Installation, name: str) -> SecretPlace:
    """Where a secret of an installation belongs."""
    return SecretPlace(installation.organization_id, installation.plugin_id, str(installation.id), name)
