"""Which of the things that a plugin asks for it is granted."""

from collections.abc import Sequence

from outlet.manifest import Manifest
from services.common.errors import Unprocessable


def chosen_grants(manifest: Manifest, wanted: Sequence[str] | None) -> list[str]:
    """What of the plugin's wishes is granted; None: all. Raises Unprocessable (``invalid_grants``)."""
    asked = list(manifest.wanted_grants())
    if wanted is None:
        return asked
    unknown = [name for name in wanted if name not in asked]
    if unknown:
        raise Unprocessable(
            "Only what the plugin asks for can be granted.",
            code="invalid_grants",
            errors=[{"path": "grants", "message": f"{name!r} is none of {asked}"} for name in unknown],
        )
    return [name for name in asked if name in wanted]
