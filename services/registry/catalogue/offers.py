"""Which versions of a plugin are on offer, and to whom."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

from services.common.errors import Conflict, NotFound
from services.registry.catalogue.levels import Level
from services.registry.catalogue.versions import later, precedence
from services.registry.models import Plugin, PluginVersion


@dataclass(frozen=True, slots=True)
class Offer:
    """A version as far as it matters for who can install it."""

    version: str
    level: Level
    withdrawn: bool
    """Yanked by its publisher or revoked by a reviewer."""


def latest(offers: Iterable[Offer], *, own: bool) -> str | None:
    """What an installation gets that names no version; ``own``: in the publisher's own organization."""
    found = offered(offers, own=own)
    return reduce(later, found) if found else None


def offered(offers: Iterable[Offer], *, own: bool) -> list[str]:
    """The versions that can be installed, the highest first."""
    found = [each.version for each in offers if not each.withdrawn and (own or each.level is not Level.PRIVATE)]
    return sorted(found, key=precedence, reverse=True)


def check_offered(plugin: Plugin, version: PluginVersion, organization: str) -> None:
    """Raises NotFound when ``organization`` is not to know of a version, Conflict when it cannot be had any more."""
    if version.level == Level.PRIVATE and (plugin.mirrored or plugin.publisher_organization != organization):
        raise NotFound(f"The plugin {plugin.id!r} has no version {version.version!r}.", code="version_not_found")
    check_not_revoked(version)
    if version.yanked_at is not None:
        raise Conflict(
            f"{plugin.id} {version.version} was taken back by its publisher: {version.yank_reason}",
            code="version_yanked",
            remedy="Install another version; installations of this one go on.",
        )


def check_not_revoked(version: PluginVersion) -> None:
    """Raises Conflict (``version_revoked``)."""
    if version.revoked_at is not None:
        raise Conflict(
            f"{version.plugin_id} {version.version} was revoked: {version.revocation_reason}",
            code="version_revoked",
            remedy="Install another version: nothing of this one runs.",
        )
