"""What an installation may do: what its plugin's manifest asks for and its organization has granted."""

from services.common.directory import Installation
from services.runtime.plugin_api.errors import ApiRefusal


def granted(installation: Installation, permission: str) -> bool:
    """Whether the organization granted ``permission`` (``product:read``, ``host:api.example.com``, ...)."""
    return permission in installation.grants


def require(installation: Installation, permission: str, purpose: str) -> None:
    """Raise ApiRefusal ``permission_denied``, saying who has to do what, unless ``permission`` is granted.

    ``purpose`` completes "... is needed to", for the plugin's author.
    """
    if granted(installation, permission):
        return
    if permission in installation.manifest.wanted_grants():
        why = "the organization has not granted it to this installation"
    else:
        why = "the manifest does not ask for it: declare it, with its purpose, under permissions in plugin.toml"
    raise ApiRefusal("permission_denied", f"{permission} is needed to {purpose}, and {why}")
