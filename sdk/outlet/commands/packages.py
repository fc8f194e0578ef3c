"""`outlet build` and `outlet publish`: from a plugin's folder to the marketplace."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import typer

from outlet.commands.console import needs_local, output
from outlet.local.errors import PlatformError

PUBLISH_TIMEOUT = 60.0
LOCAL_HOSTS = {"127.0.0.1", "localhost", "::1"}
LOCAL_PUBLISHER = "local"
"""The organization in whose name a publisher on the own machine publishes."""


def build(folder: Path, target: Path | None, *, as_json: bool) -> None:
    """Build a plugin and write its package. Raises PackageError when the plugin is not right."""
    from outlet import package as packages

    package = packages.build(folder)
    manifest = package.manifest
    path = target or folder / "dist" / f"{manifest.plugin_id}-{manifest.version}.outlet"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(package.data)
    facts = {"pluginId": manifest.plugin_id, "version": manifest.version, "digest": package.digest, "path": str(path)}
    if as_json:
        typer.echo(json.dumps(facts | {"bytes": len(package.data)}))
    else:
        output().print(f"{path}\n{len(package.data):,} bytes, {package.digest}", markup=False, soft_wrap=True)


def publish(folder: Path, url: str, token: str | None, directory: Path, *, as_json: bool) -> None:
    """Build a plugin and publish it. Raises PackageError, or PlatformError when the platform does not take it."""
    import httpx

    from outlet import package as packages

    package = packages.build(folder)
    headers = {
        "authorization": f"Bearer {token or _local_token(url, directory)}",
        "content-type": packages.MEDIA_TYPE,
    }
    address = f"{url.rstrip('/')}/api/plugins/marketplace"
    try:
        response = httpx.post(address, content=package.data, headers=headers, timeout=PUBLISH_TIMEOUT)
    except httpx.TransportError as error:
        raise PlatformError(
            f"no answer from {url}: {error}", "Is the platform up (outlet up)? Is --url right?"
        ) from error
    if response.is_error:
        raise _refused(response)
    if as_json:
        typer.echo(response.text)
    else:
        manifest = package.manifest
        published = f"Published {manifest.plugin_id} {manifest.version} ({package.digest})"
        output().print(published, markup=False, soft_wrap=True)


def _local_token(url: str, directory: Path) -> str:
    """A publisher's token for the platform of this machine. Raises PlatformError for any other."""
    if urlsplit(url).hostname not in LOCAL_HOSTS:
        raise PlatformError("a token is needed", "Give a publisher's token with --token or OUTLET_TOKEN.")
    with needs_local():
        from outlet.local.issuer import Issuer
    return Issuer.open(directory / "issuer").token("publisher", LOCAL_PUBLISHER)


def _refused(response: Any) -> PlatformError:
    """What a problem document (RFC 9457) says, or the status when the answer is none."""
    problem: dict[str, Any] = {}
    if "json" in response.headers.get("content-type", ""):
        problem = response.json()
    said = problem.get("detail") or problem.get("title") or response.reason_phrase
    found = "".join(f"\n  {error}" for error in problem.get("errors", ()))
    code = problem.get("code", "no problem document")
    return PlatformError(f"refused with {response.status_code} ({code}): {said}{found}", str(problem.get("remedy", "")))
