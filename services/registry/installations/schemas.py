"""Documents of installations."""

from datetime import datetime
from typing import Any, Literal, Self
from uuid import UUID

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from services.common.directory import Backlog, BreakerState
from services.common.wire import Document, Line
from services.registry.catalogue.schemas import ManifestDocument, manifest_members, read_manifest
from services.registry.installations.lifecycle import Status
from services.registry.models import Installation, InstallationError, PluginVersion
from services.registry.secret_settings import masked


class Request(Document):
    """A request body: a member that nobody reads is a mistake of the caller's."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, extra="forbid")


class InstallRequest(Request):
    """What to install, and for whom."""

    plugin_id: Line
    version: Line | None = Field(default=None, description="Without it, the latest release.")
    store_id: Line | None = Field(
        default=None, description="Without it, the whole organization (or the token's store)."
    )
    config: dict[str, Any] = Field(default_factory=dict, description="Defaults of the settings schema are filled in.")
    grants: list[Line] | None = Field(
        default=None, description="Names of the permissions to grant; without it, all that the plugin asks for."
    )
    with_dependencies: bool = Field(
        default=False,
        description="Install what it needs too, in the same place and with all that it asks for; see the plan.",
    )


class ConfigRequest(Request):
    """The whole new configuration."""

    config: dict[str, Any] = Field(description='{"set": true} keeps a secret; what is left out is removed.')


class Stats(Document):
    """Usage, as reported by the workers with a delay of about a second."""

    activations: int
    api_calls: int = Field(description="Calls that the plugin made to the Plugin API.")
    route_calls: int
    hook_runs: int
    hook_errors: int
    last_used: datetime | None

    @classmethod
    def of(cls, installation: Installation) -> Self:
        return cls(
            activations=installation.activations,
            api_calls=installation.api_calls,
            route_calls=installation.route_calls,
            hook_runs=installation.hook_runs,
            hook_errors=installation.hook_errors,
            last_used=installation.last_used_at,
        )


class ErrorDocument(Document):
    """One failure. ``stack`` is shown to owners and admins."""

    at: datetime
    source: Literal["plugin", "platform"]
    code: str
    message: str
    during: str = Field(description="The hook or route that failed.")
    event_id: str | None
    stack: str | None

    @classmethod
    def of(cls, error: InstallationError, *, with_stack: bool) -> Self:
        document = cls.model_validate(error)
        return document if with_stack else document.model_copy(update={"stack": None})


class Rollout(Document):
    """How many workers live, and how many of them act on the installation's present state."""

    workers: int
    live: int
    sandbox_tier: str | None = Field(
        description="The weakest sandbox among the workers, from A (all walls) to D; null: not known."
    )


class LibraryDocument(Document):
    """A library in the version that was resolved for an installation."""

    plugin_id: str
    version: str
    digest: str


class InstallationSummary(ManifestDocument):
    """One installation, as the list shows it."""

    id: UUID
    organization_id: str
    store_id: str | None = Field(description="Null: the whole organization.")
    config: dict[str, Any] = Field(description='A secret that is set shows as {"set": true}.')
    grants: list[str]
    status: Status
    status_reason: str | None
    libraries: list[LibraryDocument] = Field(description="What its code is given to import.")
    updating: bool = Field(description="Whether it is about to have another version; its events wait meanwhile.")
    revoked: str | None = Field(description="Why a reviewer has stopped this version everywhere; null: it runs.")
    installed_at: datetime | None = Field(description="Null until onInstall succeeded.")
    installed_by: str
    last_activated_at: datetime | None
    last_deactivated_at: datetime | None
    stats: Stats
    revision: int = Field(description="Grows with every change of state, across all installations.")

    @classmethod
    def of(cls, installation: Installation, version: PluginVersion, **members: Any) -> Self:
        """The document of an installation; ``members`` are those that subclasses add."""
        own = {
            name: getattr(installation, name)
            for name in InstallationSummary.model_fields
            if name not in ManifestDocument.model_fields and name not in ("stats", "revoked")
        }
        if version.revoked_at is not None and installation.status == Status.ACTIVE:
            own |= {"status": Status.ERROR, "status_reason": f"the version was revoked: {version.revocation_reason}"}
        own["revoked"] = version.revocation_reason if version.revoked_at is not None else None
        own["config"] = masked(installation.config, read_manifest(version).secret_settings())
        return cls(**manifest_members(version), **own, stats=Stats.of(installation), **members)


class BreakerDocument(Document):
    """The circuit breaker. While it is not closed, the installation's status is `error` and its events wait."""

    state: BreakerState
    reason: str | None = Field(description="Why it has this state; null while it never opened.")
    since: datetime | None
    until: datetime | None = Field(description="When an open one becomes half-open.")
    probes: int = Field(description="How many runs at a time a half-open one lets through.")


class InstallationDetails(InstallationSummary):
    """One installation with its newest errors (50 at most), its circuit breaker and its rollout."""

    breaker: BreakerDocument
    backlog: Backlog = Field(
        description="Of a deactivated plugin: its events are kept (`pause`), those that wait still run (`drain`)."
    )
    errors: list[ErrorDocument]
    rollout: Rollout | None = Field(description="Null while it cannot be seen which workers are alive.")


class Latency(Document):
    """How long runs took that ended, in milliseconds, at most 9.1 % off; null: none ended."""

    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


class HookStats(Latency):
    """One hook in one store."""

    hook: str = Field(description="An event type, METHOD /path of a route, schedule NAME or job NAME.")
    store_id: str | None = Field(description="Null: in no store.")
    runs: int
    errors: int


class HookUsageStats(HookStats):
    """One hook in one store, since the installation."""

    last_used: datetime


class WindowStats(Latency):
    """Hooks that ended within some seconds, routes not included."""

    seconds: float
    runs: int
    errors: int
    error_rate: float


class RecentStats(WindowStats):
    """The window that ended ``at``, its last seconds, and its busiest hooks (routes included; 500 at most)."""

    at: datetime
    latest: WindowStats
    hooks: list[HookStats]


class InstallationStats(Latency):
    """The usage and health of one installation. Its latency is that of hooks, not of routes."""

    id: UUID
    plugin_id: str
    status: Status
    activations: int
    api_calls: int
    route_calls: int
    hook_runs: int
    errors: int = Field(description="Failed hooks, since the installation.")
    last_used: datetime | None
    last_activated_at: datetime | None
    last_deactivated_at: datetime | None
    last_errors: list[ErrorDocument]
    hooks: list[HookUsageStats] = Field(description="By hook and store, the busiest first.")
    recent: RecentStats | None = Field(description="The last minute, as insights told it; null: it never ran since.")

    @classmethod
    def of(cls, installation: Installation, errors: list[ErrorDocument], **members: Any) -> Self:
        """The statistics of an installation with its kept errors; ``members`` are latency, hooks and recent."""
        return cls(
            **members,
            **Stats.of(installation).model_dump(exclude={"hook_errors"}),
            id=installation.id,
            plugin_id=installation.plugin_id,
            status=Status(installation.status),
            errors=installation.hook_errors,
            last_activated_at=installation.last_activated_at,
            last_deactivated_at=installation.last_deactivated_at,
            last_errors=errors,
        )
