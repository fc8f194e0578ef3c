"""`outlet build` and `outlet publish`: from a plugin's folder to the marketplace."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import typer

from outlet.commands.console import output

if TYPE_CHECKING:
    from joserfc.jwk import OKPKey

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


def publish(
    folder: Path, url: str, token: str | None, directory: Path, *, key: str, level: str | None, as_json: bool
) -> None:
    """Build a plugin, sign and publish it.

    Without a ``token`` it is for the platform on this machine, which gets a key that is made and registered by itself,
    and for everyone there unless ``level`` says otherwise.

    Raises PackageError, or PlatformError when the platform does not take it.
    """
    from outlet import package as packages
    from outlet import signing
    from outlet.commands.gateway import local_token, send
    from outlet.commands.key_files import KeyFiles

    package = packages.build(folder)
    keys = KeyFiles(directory / "keys")
    if token is None:
        token = local_token(url, directory, "publisher", LOCAL_PUBLISHER)
        signer = keys.read(key) if keys.exists(key) else keys.create(key)
        register_key(url, token, key, signer)
        level = level or "community"
    else:
        signer = keys.read(key)
        level = level or "private"
    signature = signing.sign(signing.Statement.of(package), signer)
    headers = {"content-type": packages.MEDIA_TYPE, signing.HEADER: signature}
    response = send(
        url, token, "POST", "/api/plugins/marketplace", content=package.data, headers=headers, params={"level": level}
    )
    if as_json:
        typer.echo(response.text)
    else:
        manifest = package.manifest
        published = f"Published {manifest.plugin_id} {manifest.version} ({package.digest})"
        output().print(published, markup=False, soft_wrap=True)


def register_key(url: str, token: str, name: str, key: "OKPKey") -> dict[str, Any]:
    """Make a key's public part known to a platform; what it answers. The same key again changes nothing."""
    from outlet import signing
    from outlet.commands.gateway import send

    body = {"name": name, "publicKey": signing.public_part(key).document()}
    registered: dict[str, Any] = send(url, token, "POST", "/api/plugins/publisher-keys", json=body).json()
    return registered


def yank(
    plugin: str, version: str, reason: str | None, url: str, token: str | None, directory: Path, *, as_json: bool
) -> None:
    """Take a version out of offer, or with None offer it again. Raises PlatformError when that is refused."""
    from outlet.commands.gateway import local_token, send

    token = token or local_token(url, directory, "publisher", LOCAL_PUBLISHER)
    path = f"/api/plugins/marketplace/{quote(plugin, safe='')}/versions/{quote(version, safe='')}/yank"
    method, body = ("DELETE", None) if reason is None else ("PUT", {"reason": reason})
    response = send(url, token, method, path, **({} if body is None else {"json": body}))
    if as_json:
        typer.echo(response.text)
    else:
        latest = response.json()["latestVersion"] or "no version"
        said = "is offered again" if reason is None else "is not offered any more"
        output().print(f"{plugin} {version} {said}; who names none gets {latest}", markup=False, soft_wrap=True)
