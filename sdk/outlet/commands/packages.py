"""`outlet build` and `outlet publish`: from a plugin's folder to the marketplace."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import typer

from outlet.commands.console import output

if TYPE_CHECKING:
    import httpx
    from joserfc.jwk import OKPKey

    from outlet.package import Package

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
    from outlet.commands.gateway import bearer, local_token

    package = packages.build(folder)
    local = token is None
    token = local_token(url, directory, "publisher", LOCAL_PUBLISHER) if token is None else bearer(url, token)
    signer = signing_key(url, token, directory, key, local=local)
    response = upload(package, url, token, signer, level or ("community" if local else "private"))
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
    method = "DELETE" if reason is None else "PUT"
    body: dict[str, Any] = {} if reason is None else {"json": {"reason": reason}}
    response = send(url, token, method, path, **body)
    if as_json:
        typer.echo(response.text)
    else:
        latest = response.json()["latestVersion"] or "no version"
        said = "is offered again" if reason is None else "is not offered any more"
        output().print(f"{plugin} {version} {said}; who names none gets {latest}", markup=False, soft_wrap=True)


def signing_key(url: str, token: str, directory: Path, name: str, *, local: bool) -> "OKPKey":
    """The key of this name. For the platform on this machine (``local``) it is made and registered when needed."""
    from outlet.commands.key_files import KeyFiles

    keys = KeyFiles(directory / "keys")
    if not local:
        return keys.read(name)
    signer = keys.read(name) if keys.exists(name) else keys.create(name)
    register_key(url, token, name, signer)
    return signer


def upload(
    package: "Package", url: str, token: str, signer: "OKPKey", level: str, client: "httpx.Client | None" = None
) -> "httpx.Response":
    """Sign a package and put it into the marketplace. Raises PlatformError when the platform does not take it."""
    from outlet import signing
    from outlet.commands.gateway import send
    from outlet.package import MEDIA_TYPE

    headers = {"content-type": MEDIA_TYPE, signing.HEADER: signing.sign(signing.Statement.of(package), signer)}
    path, params = "/api/plugins/marketplace", {"level": level}
    return send(url, token, "POST", path, client=client, content=package.data, headers=headers, params=params)


def lock(folder: Path, *, as_json: bool) -> None:
    """Resolve the Python packages that a plugin asks for, and write its lock file. Raises PackageError."""
    from outlet._load import required_packages
    from outlet._vendoring import LOCK_FILE
    from outlet._vendoring import lock as resolve

    found = resolve(folder, required_packages(folder))
    if as_json:
        typer.echo(
            json.dumps({"path": str(folder / LOCK_FILE), "packages": [f"{one.name}=={one.version}" for one in found]})
        )
        return
    for one in found:
        output().print(f"{one.name} {one.version}", markup=False)
    output().print(f"{folder / LOCK_FILE}", markup=False, soft_wrap=True)
