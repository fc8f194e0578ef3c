"""Which hosts an installation may reach: declared by the plugin, granted by the organization."""

import httpx

from outlet._rules import destinations
from services.common.directory import Installation


def destination(installation: Installation, url: str, *, plain_http: bool = False) -> httpx.URL:
    """The URL, when this installation may reach it. Raises ApiRefusal.

    ``plain_http``: for receivers on this machine, in tests.
    """
    return destinations.destination(installation.manifest, installation.grants, url, plain_http=plain_http)
