"""Installations as tests need them."""

import uuid
from typing import Any

from outlet.manifest import HookDeclaration, Manifest
from services.common.directory import Installation


def installation(
    plugin_id: str = "loyalty-points",
    organization: str = "acme",
    store: str | None = None,
    status: Any = "active",
    digest: str = "sha256:00",
    revision: int = 1,
    config: dict[str, Any] | None = None,
    grants: tuple[str, ...] = (),
    updating: bool = False,
    revoked: str | None = None,
    **declared: Any,
) -> Installation:
    """An installation of a plugin that listens to ``sale.created`` and asks for nothing unless told otherwise.

    ``grants`` is what the organization granted, ``declared`` what the manifest declares.
    """
    manifest = Manifest(
        plugin_id=plugin_id,
        name=plugin_id,
        version="1.0.0",
        author="Acme",
        description="for tests",
        entry="plugin:plugin",
        **{"hooks": (HookDeclaration(event="sale.created"),), **declared},
    )
    return Installation(
        id=str(uuid.uuid4()),
        revision=revision,
        plugin_id=plugin_id,
        version="1.0.0",
        digest=digest,
        organization_id=organization,
        store_id=store,
        status=status,
        config=config or {},
        grants=grants,
        manifest=manifest,
        updating=updating,
        revoked=revoked,
    )
