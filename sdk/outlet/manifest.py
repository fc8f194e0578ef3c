"""The manifest: what a plugin is and what its code declares, fixed when it is built.

One model serves the author's build, the registry's checks and the runtime. On the wire it is JSON in camelCase;
:func:`decode` refuses anything a worker could not run, naming the key at fault.
"""

import re
from typing import Any, Final, Literal

import msgspec

from outlet._background import check_cron

SCHEMA_VERSION: Final = 1

PLUGIN_ID = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?")
EVENT_TYPE = re.compile(r"([a-z][a-z0-9-]*/)?[a-z][a-z0-9_-]*(\.[a-z][a-z0-9_-]*)*")
ENTRY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
MODULE = re.compile(r"[A-Za-z_]\w*")
HANDLER_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
HOST_NAME = re.compile(r"(\*\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])")
MODELS = ("sale", "product", "customer", "employee", "store")
VERBS = ("read", "create", "update", "delete")
PERMISSIONS = frozenset(
    {f"{model}:{verb}" for model in MODELS for verb in VERBS}
    | {"customer:personal-data", "employee:personal-data", "notify:send"}
)
TABLE_NAME = re.compile(r"[a-z][a-z0-9_]{0,19}")
POOL_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
BUNDLE_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
INTEGRITY = re.compile(r"sha384-[A-Za-z0-9+/]{64}")
MAX_BUNDLE_BYTES = 64 * 1024
"""A bundle's size as browsers receive it: compressed by gzip."""
SECRET_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
ROUTE_PATH = re.compile(r"(/([A-Za-z0-9._~-]+|\{[a-z_][a-z0-9_]*\}))+")

CURRENCY = re.compile(r"[A-Z]{3}")
MAX_AMOUNT = 99_999_999
MAX_TRIAL_DAYS = 365

RESERVED_IDS = frozenset({"install", "marketplace", "ui-components", "events", "audit", "service-accounts"})
"""Words that the paths of the platform's own API use."""

INJECTION_POINTS = (
    "POS.AfterCheckout",
    "POS.BeforeCheckout",
    "Product.Form",
    "Product.Details",
    "Customer.Profile",
    "Customer.Form",
    "Reports.Dashboard",
    "Dashboard.Widgets",
)

PriceModel = Literal["free", "one-time", "subscription"]
Category = Literal["payment", "shipping", "loyalty", "analytics", "integration", "utility", "custom", "library"]
Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
Lifecycle = Literal["onInstall", "onActivate", "onDeactivate", "onUninstall", "onUpdate"]

MAX_CHANGELOG: Final = 4_000  # characters


class ManifestError(ValueError):
    """A manifest that cannot be built, published or run. The message names the key and what it must be."""


class _Part(msgspec.Struct, rename="camel", frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Permission(_Part, frozen=True, kw_only=True):
    """One thing the plugin may do, and why the organization should grant it.

    ``<model>:<verb>`` with a model of :data:`MODELS` and a verb of :data:`VERBS`; ``customer:personal-data`` and
    ``employee:personal-data``; ``notify:send``. Hosts and calls of other plugins are declared apart, and granted as
    ``host:<name>`` and ``call:<plugin id>``.
    """

    name: str
    purpose: str


class Host(_Part, frozen=True, kw_only=True):
    """An outside host that the plugin fetches from: an exact DNS name, or ``*.`` before one for its subdomains."""

    name: str
    purpose: str


class PluginCall(_Part, frozen=True, kw_only=True):
    """Another plugin whose exported routes this one calls."""

    plugin_id: str
    purpose: str


class Limits(_Part, frozen=True, kw_only=True):
    """What one sandbox process may use; the operator's caps apply on top. None: the operator's default.

    Memory in MiB, times in seconds, rates per second.
    """

    memory_mib: int | None = None
    cpu_seconds: float | None = None
    hook_seconds: float | None = None
    route_seconds: float | None = None
    concurrency: int | None = None
    bytes_per_second: int | None = None
    log_lines_per_second: int | None = None


class Bundle(_Part, frozen=True, kw_only=True):
    """JavaScript of the plugin's screens: ``bundles/<name>.js`` of the package.

    ``integrity`` is that of Subresource Integrity (W3C), ``compressed_bytes`` its size as gzip.
    """

    name: str
    integrity: str
    bytes: int
    compressed_bytes: int


class PythonPackage(_Part, frozen=True, kw_only=True):
    """A pure-Python package from an index that is part of this one; ``sha256`` is its wheel's, in hex."""

    name: str
    version: str
    sha256: str


class Dependency(_Part, frozen=True, kw_only=True):
    """Another plugin that must be installed, with the range of versions that will do (PEP 440 specifiers)."""

    plugin_id: str
    version: str = ">=0"


class Price(_Part, frozen=True, kw_only=True):
    """What the plugin costs an organization: nothing, once, or each ``period``.

    ``amount`` is in the minor unit of ``currency`` (ISO 4217), as 990 for 9.90 EUR. For ``trial_days`` an organization
    may use it, once, before it pays.
    """

    model: PriceModel = "free"
    amount: int = 0
    currency: str | None = None
    trial_days: int = 0
    period: Literal["month", "year"] | None = None


class HookDeclaration(_Part, frozen=True, kw_only=True):
    """An event type the plugin handles.

    A hook that fails is tried ``attempts`` times in all; the pauses grow from ``first_pause_seconds`` to
    ``longest_pause_seconds``. None: the operator's defaults, which are also the most. ``ordered``: while an event waits
    for its next attempt, later ones of the same record key wait behind it.
    """

    event: str
    attempts: int | None = None
    first_pause_seconds: float | None = None
    longest_pause_seconds: float | None = None
    ordered: bool = False


class RouteDeclaration(_Part, frozen=True, kw_only=True):
    """A custom HTTP route, served below ``/api/plugins/{pluginId}/api``. ``{name}`` matches one path segment."""

    method: Method
    path: str


class ComponentDeclaration(_Part, frozen=True, kw_only=True):
    """A component offered at an injection point; a higher priority comes first."""

    injection_point: str
    name: str
    title: str
    priority: int = 0
    route: str | None = None
    bundle: str | None = None
    """The bundle that draws it; None: the screen shows what ``route`` answers in its own way."""


class ScheduleDeclaration(_Part, frozen=True, kw_only=True):
    """A recurring tick: cron with five fields, evaluated in an IANA time zone.

    ``missed`` says what becomes of ticks that nobody was there for: ``skip`` them, ``once`` for all, or run ``all``.
    """

    name: str
    cron: str
    timezone: str = "UTC"
    missed: Literal["skip", "once", "all"] = "once"


class JobDeclaration(_Part, frozen=True, kw_only=True):
    """Background work that the plugin's handlers can enqueue."""

    name: str


class Manifest(_Part, frozen=True, kw_only=True):
    """Everything the platform knows of one version of a plugin without running its code."""

    schema_version: Literal[1] = SCHEMA_VERSION
    plugin_id: str
    name: str
    version: str
    author: str
    description: str
    entry: str
    category: Category = "custom"
    tags: tuple[str, ...] = ()
    icon: str | None = None
    homepage: str | None = None
    repository: str | None = None
    license: str | None = None
    price: Price = Price()
    changelog: str = ""
    """What is new in this version, for whoever decides on the update."""
    permissions: tuple[Permission, ...] = ()
    hosts: tuple[Host, ...] = ()
    calls: tuple[PluginCall, ...] = ()
    exports: tuple[str, ...] = ()
    """Routes that other plugins may call, as ``GET /points/{customer_id}``."""
    limits: Limits = Limits()
    dependencies: tuple[Dependency, ...] = ()
    settings_schema: dict[str, Any] = {}
    tables: tuple[str, ...] | None = None
    """The custom tables that it makes, when it says so: it can make no others then."""
    pool: str | None = None
    """The workers that run it: those of this name. None: those that run whatever names no pool."""
    bundles: tuple[Bundle, ...] = ()
    python: tuple[PythonPackage, ...] = ()
    lifecycle: tuple[Lifecycle, ...] = ()
    hooks: tuple[HookDeclaration, ...] = ()
    routes: tuple[RouteDeclaration, ...] = ()
    components: tuple[ComponentDeclaration, ...] = ()
    schedules: tuple[ScheduleDeclaration, ...] = ()
    jobs: tuple[JobDeclaration, ...] = ()

    @property
    def is_library(self) -> bool:
        """Whether it is code that other plugins import, and nothing by itself."""
        return self.category == "library"

    def wanted_grants(self) -> tuple[str, ...]:
        """Everything an organization is asked to grant."""
        return (
            *(permission.name for permission in self.permissions),
            *(f"host:{host.name}" for host in self.hosts),
            *(f"call:{call.plugin_id}" for call in self.calls),
        )

    def secret_settings(self) -> tuple[str, ...]:
        """The settings that the platform keeps from the plugin: ``{"type": "string", "format": "secret"}``."""
        properties = self.settings_schema.get("properties")
        if not isinstance(properties, dict):
            return ()
        return tuple(name for name, part in properties.items() if _is_secret(part))


def encode(manifest: Manifest) -> bytes:
    """The manifest's one canonical JSON: the same manifest gives the same bytes."""
    return msgspec.json.encode(manifest, order="deterministic")


def decode(data: bytes) -> Manifest:
    """Read and check a manifest. Raises :class:`ManifestError`."""
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except msgspec.DecodeError as error:  # ValidationError, which names the path of the key, is one of these
        raise ManifestError(f"manifest.json: {error}") from error
    check(manifest)
    return manifest


def check(manifest: Manifest) -> None:
    """Refuse what the types alone let through. Raises :class:`ManifestError`."""
    _match(PLUGIN_ID, manifest.plugin_id, "pluginId", "lower-case words joined by hyphens, such as loyalty-points")
    if len(manifest.plugin_id) > 40:
        raise ManifestError("pluginId: at most 40 characters")
    if manifest.plugin_id in RESERVED_IDS:
        raise ManifestError(f"pluginId: {manifest.plugin_id!r} is a word of the platform's own paths; take another")
    _match(VERSION, manifest.version, "version", "a semantic version such as 1.4.0")
    if manifest.is_library:
        _check_library(manifest)
    else:
        _match(ENTRY, manifest.entry, "entry", "module:attribute, such as loyalty_points:plugin")
    for key in ("name", "author", "description"):
        if not getattr(manifest, key).strip():
            raise ManifestError(f"{key}: must not be empty")
    _check_price(manifest.price)
    if len(manifest.changelog) > MAX_CHANGELOG:
        raise ManifestError(f"changelog: at most {MAX_CHANGELOG} characters of what is new in this version")
    _check_grants(manifest)
    _check_secrets(manifest)
    _check_parts(manifest)
    for hook in manifest.hooks:
        _match(EVENT_TYPE, hook.event, "hooks.event", "an event type such as sale.created or other-plugin/event")
        for key in ("attempts", "first_pause_seconds", "longest_pause_seconds"):
            value = getattr(hook, key)
            if value is not None and value <= 0:
                raise ManifestError(f"hooks.{key}: must be above 0")
    for route in manifest.routes:
        _match(ROUTE_PATH, route.path, "routes.path", "a path such as /points/{customer_id}")
    for component in manifest.components:
        if component.injection_point not in INJECTION_POINTS:
            raise ManifestError(
                f"components.injectionPoint: {component.injection_point!r} is none of {INJECTION_POINTS}"
            )
    routes = {f"{route.method} {route.path}" for route in manifest.routes}
    for export in manifest.exports:
        if export not in routes:
            raise ManifestError(f"exports: {export!r} is no route of the plugin; routes are {sorted(routes)}")
    for name in [*(schedule.name for schedule in manifest.schedules), *(job.name for job in manifest.jobs)]:
        _match(HANDLER_NAME, name, "schedules.name, jobs.name", "a name such as nightly-report")
    for schedule in manifest.schedules:
        try:
            check_cron(schedule.cron, schedule.timezone)
        except ValueError as error:
            raise ManifestError(f"schedules.cron, schedules.timezone: {error}") from error
    for key, value in msgspec.structs.asdict(manifest.limits).items():
        if value is not None and value <= 0:
            raise ManifestError(f"limits.{key}: must be above 0")
    _distinct("schedules", [schedule.name for schedule in manifest.schedules])
    _distinct("jobs", [job.name for job in manifest.jobs])
    _distinct("hooks", [hook.event for hook in manifest.hooks])
    _distinct("routes", [f"{route.method} {route.path}" for route in manifest.routes])
    _distinct("components", [f"{part.injection_point} {part.name}" for part in manifest.components])


def _check_parts(manifest: Manifest) -> None:
    for table in manifest.tables or ():
        _match(TABLE_NAME, table, "tables", "a name of a-z, 0-9 and _, at most 20 characters")
    if manifest.pool is not None:
        _match(POOL_NAME, manifest.pool, "pool", "a name such as heavy-reports")
    for bundle in manifest.bundles:
        _match(BUNDLE_NAME, bundle.name, "bundles.name", "a name of lower-case letters, digits and hyphens")
        _match(INTEGRITY, bundle.integrity, "bundles.integrity", "sha384- and 64 characters of base64")
        if not 0 < bundle.compressed_bytes <= MAX_BUNDLE_BYTES:
            raise ManifestError(
                f"bundles.compressedBytes: {bundle.name} has {bundle.compressed_bytes} bytes as gzip; at most "
                f"{MAX_BUNDLE_BYTES} are allowed: leave libraries out that the page has, or split it by screen"
            )
    names = {bundle.name for bundle in manifest.bundles}
    for component in manifest.components:
        if component.bundle is not None and component.bundle not in names:
            raise ManifestError(f"components.bundle: {component.bundle!r} is no bundle; bundles are {sorted(names)}")
    _distinct("tables", list(manifest.tables or ()))
    _distinct("bundles", [bundle.name for bundle in manifest.bundles])
    _distinct("python", [package.name for package in manifest.python])


def _check_price(price: Price) -> None:
    if price.model == "free":
        if price != Price():
            raise ManifestError("price: what is free has no amount, currency, period or trial")
        return
    if not 0 < price.amount <= MAX_AMOUNT:
        raise ManifestError(f"price.amount: from 1 to {MAX_AMOUNT}, in the minor unit of the currency, as 990 for 9.90")
    _match(CURRENCY, price.currency or "", "price.currency", "a currency of ISO 4217, such as EUR")
    if not 0 <= price.trial_days <= MAX_TRIAL_DAYS:
        raise ManifestError(f"price.trialDays: from 0 to {MAX_TRIAL_DAYS}")
    if (price.period is None) == (price.model == "subscription"):
        raise ManifestError("price.period: a subscription has one, month or year; what is paid once has none")


def _check_library(manifest: Manifest) -> None:
    """A library runs in the plugins that import it, with what they are granted: it declares nothing for itself."""
    _match(MODULE, manifest.entry, "entry", "the name of the library's package")
    for key in ("permissions", "hosts", "calls", "exports", "lifecycle", "hooks", "routes", "components", "schedules",
                "jobs", "settings_schema"):  # fmt: skip
        if getattr(manifest, key):
            raise ManifestError(f"{key}: a library has none; the plugins that import it declare what they do")


def _check_grants(manifest: Manifest) -> None:
    for permission in manifest.permissions:
        if permission.name not in PERMISSIONS:
            raise ManifestError(f"permissions.name: {permission.name!r} is none of {sorted(PERMISSIONS)}")
    for host in manifest.hosts:
        _match(HOST_NAME, host.name, "hosts.name", "a DNS name such as api.example.com or *.example.com")
    for call in manifest.calls:
        _match(PLUGIN_ID, call.plugin_id, "calls.pluginId", "a plugin id")
    purposes = [
        *(permission.purpose for permission in manifest.permissions),
        *(host.purpose for host in manifest.hosts),
        *(call.purpose for call in manifest.calls),
    ]
    if not all(purpose.strip() for purpose in purposes):
        raise ManifestError("purpose: say why the plugin needs it, for whoever is asked to grant it")
    _distinct("permissions, hosts, calls", list(manifest.wanted_grants()))


def _check_secrets(manifest: Manifest) -> None:
    """A secret anywhere else than the platform looks for it would reach the plugin like any other setting."""
    names = manifest.secret_settings()
    if _count_secrets(manifest.settings_schema) > len(names):
        raise ManifestError('settings: "format": "secret" is for string settings at the top level of properties')
    for name in names:
        part = manifest.settings_schema["properties"][name]
        _match(SECRET_NAME, name, "settings.properties", "a name of letters, digits, hyphens and underscores")
        if part.get("type") != "string":
            raise ManifestError(f'settings.properties.{name}: a secret has "type": "string"')
        if not part.keys().isdisjoint({"default", "const", "enum", "examples"}):
            raise ManifestError(f"settings.properties.{name}: a secret's value has no place in the manifest")


def _is_secret(part: Any) -> bool:
    return isinstance(part, dict) and part.get("format") == "secret"


def _count_secrets(value: Any) -> int:
    if isinstance(value, dict):
        return _is_secret(value) + sum(_count_secrets(item) for item in value.values())
    if isinstance(value, list):
        return sum(_count_secrets(item) for item in value)
    return 0


def _match(pattern: re.Pattern[str], value: str, key: str, expected: str) -> None:
    if not pattern.fullmatch(value):
        raise ManifestError(f"{key}: {value!r} is not {expected}")


def _distinct(key: str, values: list[str]) -> None:
    for value in values:
        if values.count(value) > 1:
            raise ManifestError(f"{key}: {value!r} is declared twice")
