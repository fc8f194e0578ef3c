"""What the audit log says of installations. Secrets show as set or not."""

from collections.abc import Mapping
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from services.common.auth import Caller
from services.common.runtime_client import LifecycleHook
from services.registry.audit.trail import Actor, Outcome, record, record_personal_data
from services.registry.catalogue.schemas import read_manifest
from services.registry.installations.outcome import Failed, Succeeded, Unreached
from services.registry.installations.outcome import Outcome as HookOutcome
from services.registry.models import Installation, PluginVersion
from services.registry.secret_settings import masked

ACTIONS: Mapping[LifecycleHook, str] = {
    LifecycleHook.ON_INSTALL: "installation.install",
    LifecycleHook.ON_ACTIVATE: "installation.activate",
    LifecycleHook.ON_DEACTIVATE: "installation.deactivate",
    LifecycleHook.ON_UNINSTALL: "installation.uninstall",
    LifecycleHook.ON_UPDATE: "installation.update",
}
ROLL_BACK = "installation.roll-back"
OUTCOMES: Mapping[type[HookOutcome], Outcome] = {Succeeded: "done", Failed: "failed", Unreached: "undone"}

State = dict[str, Any]
NOTHING: State = {}
"""The state of an installation that there is not."""


def shown(installation: Installation, version: PluginVersion) -> State:
    """The state of an installation as the audit log compares it."""
    return {
        "version": version.version,
        "status": str(installation.status),
        "config": masked(installation.config, read_manifest(version).secret_settings()),
        "grants": list(installation.grants),
        "backlog": installation.backlog,
    }


def named(installation: Installation) -> dict[str, Any]:
    """How the audit log calls an installation."""
    return {
        "pluginId": installation.plugin_id,
        "installationId": str(installation.id),
        "storeId": installation.store_id,
    }


async def record_change(
    session: AsyncSession,
    by: Actor | Caller,
    action: str,
    installation: Installation,
    *,
    before: State,
    after: State,
    outcome: Outcome = "done",
    **about: Any,
) -> None:
    """Record what was done to an installation, and each grant of personal data that was given or taken with it."""
    organization, subject = installation.organization_id, named(installation)
    await record(session, organization, by, action, subject | about, before=before, after=after, outcome=outcome)
    given, kept = before.get("grants", ()), after.get("grants", ())
    await record_personal_data(session, organization, by, subject, before=given, after=kept)
