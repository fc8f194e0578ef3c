"""What an installation may do: what its plugin's manifest asks for and its organization has granted."""

from collections.abc import Collection

from outlet._rules.refusal import ApiRefusal
from outlet.manifest import Manifest


def require(manifest: Manifest, grants: Collection[str], permission: str, purpose: str) -> None:
    """Raise ApiRefusal ``permission_denied``, saying who has to do what, unless ``permission`` is granted.

    ``purpose`` completes "... is needed to", for the plugin's author.
    """
    if permission in grants:
        return
    if permission in manifest.wanted_grants():
        why = "the organization has not granted it to this installation"
    else:
        why = "the manifest does not ask for it: declare it, with its purpose, under permissions in plugin.toml"
    raise ApiRefusal("permission_denied", f"{permission} is needed to {purpose}, and {why}")
