"""What an installation may do: what its plugin's manifest asks for and its organization has granted."""

from outlet._rules import permissions
from services.common.directory import Installation


def granted(installation: Installation, permission: str) -> bool:
    """Whether the organization granted ``permission`` (``product:read``, ``host:api.example.com``, ...)."""
    return permission in installation.grants


def require(installation: Installation, permission: str, purpose: str) -> None:
    """Raise ApiRefusal ``permission_denied`` unless ``permission`` is granted; ``purpose``: see the SDK's rule."""
    permissions.require(installation.manifest, installation.grants, permission, purpose)
