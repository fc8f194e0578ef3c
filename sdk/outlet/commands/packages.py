"""`outlet build` and `outlet publish`: from a plugin's folder to the marketplace."""

import json
from pathlib import Path

import typer

from outlet.commands.console import output

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
    from outlet import package as packages
    from outlet.commands.gateway import local_token, send

    package = packages.build(folder)
    token = token or local_token(url, directory, "publisher", LOCAL_PUBLISHER)
    headers = {"content-type": packages.MEDIA_TYPE}
    response = send(url, token, "POST", "/api/plugins/marketplace", content=package.data, headers=headers)
    if as_json:
        typer.echo(response.text)
    else:
        manifest = package.manifest
        published = f"Published {manifest.plugin_id} {manifest.version} ({package.digest})"
        output().print(published, markup=False, soft_wrap=True)
