"""Which hosts an installation may reach: declared by the plugin, granted by the organization."""

from collections.abc import Collection

import httpx

from outlet._rules.refusal import ApiRefusal
from outlet.manifest import Manifest

MAX_URL = 8_192
HTTPS_PORT = 443
FIRST_FREE_PORT = 1_024  # below it, other protocols listen


def destination(manifest: Manifest, grants: Collection[str], url: str, *, plain_http: bool = False) -> httpx.URL:
    """The URL, when an installation with these ``grants`` may reach it. Raises ApiRefusal.

    ``plain_http``: for receivers on this machine, in tests.
    """
    found = _parse(url)
    if found.scheme != "https" and not (plain_http and found.scheme == "http"):
        raise ApiRefusal("invalid_url", "the URL must begin with https://")
    if found.userinfo:
        raise ApiRefusal("invalid_url", "put credentials into a header, not into the URL")
    if found.port not in (None, HTTPS_PORT) and not FIRST_FREE_PORT <= found.port <= 65_535:
        raise ApiRefusal("invalid_url", f"the port must be {HTTPS_PORT}, or {FIRST_FREE_PORT} and above")
    _check_grant(manifest, grants, found.raw_host.decode("ascii").lower())
    return found


def _parse(url: str) -> httpx.URL:
    if len(url) > MAX_URL:
        raise ApiRefusal("invalid_url", f"a URL has at most {MAX_URL} characters")
    try:
        return httpx.URL(url).copy_with(fragment=None)
    except (httpx.InvalidURL, UnicodeError, ValueError) as error:
        raise ApiRefusal("invalid_url", f"{url[:200]!r} is no URL: {error}") from error


def _check_grant(manifest: Manifest, grants: Collection[str], host: str) -> None:
    declared = [found for found in _declared(manifest) if _covers(found, host)]
    if not declared:
        raise ApiRefusal("host_not_declared", f"declare {host[:255]!r} under [[hosts]] in plugin.toml to reach it")
    if not any(f"host:{found}" in grants for found in declared):
        raise ApiRefusal("host_not_granted", f"the organization has not granted host:{declared[0]}")


def _declared(manifest: Manifest) -> list[str]:
    return [host.name for host in manifest.hosts]


def _covers(declared: str, host: str) -> bool:
    if declared.startswith("*."):
        return host.endswith(declared[1:]) and host != declared[1:]
    return host == declared
