"""Whether a version may be run: its package, as it is stored now, is what its publisher signed."""

import anyio.to_thread
from sqlalchemy import tuple_
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from outlet.signing import PublicKey, SignatureError, Statement
from services.common.errors import Conflict
from services.common.provenance import Provenance, check_package
from services.registry.catalogue.offers import check_not_revoked
from services.registry.models import Installation, PluginVersion
from services.registry.packages.storage import PackageStorage, PackageUntrusted


def provenance_of(version: PluginVersion) -> Provenance | None:
    """Who signed a version; None: it was published before there were signatures."""
    if version.signature is None or version.public_key is None:
        return None
    return Provenance(signature=version.signature, public_key=PublicKey.read(version.public_key))


async def check_version(packages: PackageStorage, session: AsyncSession, version: PluginVersion) -> None:
    """Whether a version may be installed or activated, as far as it is about the version alone.

    Raises Conflict (``version_revoked``), or PackageUntrusted when the stored bytes are not what the publisher signed.
    """
    await check_still_allowed(session, version)
    data = await packages.find(session, version.digest)
    expected = Statement(plugin_id=version.plugin_id, version=version.version, digest=version.digest)
    if data is None:
        raise PackageUntrusted(f"{version.plugin_id} {version.version} cannot be run: its package is not there.")
    try:
        await anyio.to_thread.run_sync(check_package, data, provenance_of(version), expected)
    except SignatureError as error:
        raise PackageUntrusted(f"{version.plugin_id} {version.version} cannot be run: {error}.") from error


async def check_still_allowed(session: AsyncSession, version: PluginVersion) -> None:
    """Raises Conflict (``version_revoked``) when that was committed since the version was read."""
    await session.refresh(version)
    check_not_revoked(version)


async def revocation_reason(session: AsyncSession, installation: Installation, version: PluginVersion) -> str | None:
    """Why nothing of an installation may run: its version was revoked, or a library that it imports. None: it may."""
    if version.revoked_at is not None:
        return version.revocation_reason or ""
    imported = [(each["pluginId"], each["version"]) for each in installation.libraries]
    if not imported:
        return None
    place = tuple_(col(PluginVersion.plugin_id), col(PluginVersion.version))
    revoked = select(PluginVersion).where(place.in_(imported), col(PluginVersion.revoked_at).is_not(None))
    library = (await session.exec(revoked.limit(1))).one_or_none()
    if library is None:
        return None
    return f"its library {library.plugin_id} {library.version}: {library.revocation_reason}"


async def check_libraries(session: AsyncSession, installation: Installation, version: PluginVersion) -> None:
    """Raises Conflict (``version_revoked``) for an installation that imports what was revoked."""
    reason = await revocation_reason(session, installation, version)
    if reason is not None:
        raise Conflict(
            f"{version.plugin_id} {version.version} cannot run: {reason}",
            code="version_revoked",
            remedy="Update the plugin to a version that imports another one.",
        )
