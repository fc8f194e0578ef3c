"""What a plugin declares, checked where it is declared."""

import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeVar, get_args

from outlet._background import check_cron
from outlet._errors import DeclarationError
from outlet.manifest import (
    EVENT_TYPE,
    HANDLER_NAME,
    INJECTION_POINTS,
    ROUTE_PATH,
    ComponentDeclaration,
    HookDeclaration,
    JobDeclaration,
    Lifecycle,
    Method,
    RouteDeclaration,
    ScheduleDeclaration,
)

Handler = Callable[..., Awaitable[Any]]
Decorated = TypeVar("Decorated", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Component:
    """A component at an injection point: its ``title``, and the plugin's ``route`` that its content comes from.

    ``bundle`` names one of ``[[bundles]]`` in plugin.toml, whose JavaScript draws it.
    """

    title: str
    route: str | None = None
    bundle: str | None = None


class _Offer(NamedTuple):
    priority: int
    function: Callable[[], Component]


class _Hook(NamedTuple):
    declaration: HookDeclaration
    handler: Handler


class _Schedule(NamedTuple):
    declaration: ScheduleDeclaration
    handler: Handler


class Plugin:
    """Collects what a plugin declares. Metadata such as its name and version live in plugin.toml.

    A handler may take fewer parameters than it is offered: ``(api)`` or ``()`` instead of ``(api, event)``.
    """

    def __init__(self) -> None:
        self._lifecycle: dict[Lifecycle, Handler] = {}
        self._hooks: dict[str, _Hook] = {}
        self._routes: dict[tuple[Method, str], Handler] = {}
        self._components: dict[tuple[str, str], _Offer] = {}
        self._schedules: dict[str, _Schedule] = {}
        self._jobs: dict[str, Handler] = {}

    def on_install(self, handler: Decorated) -> Decorated:
        """Runs ``async def handler(api)`` once, before the plugin is first activated: make tables, set defaults."""
        return self._on("onInstall", handler)

    def on_activate(self, handler: Decorated) -> Decorated:
        """Runs ``async def handler(api)`` each time the plugin is switched on."""
        return self._on("onActivate", handler)

    def on_deactivate(self, handler: Decorated) -> Decorated:
        """Runs ``async def handler(api)`` each time the plugin is switched off."""
        return self._on("onDeactivate", handler)

    def on_uninstall(self, handler: Decorated) -> Decorated:
        """Runs ``async def handler(api)`` before the platform deletes what the installation stored."""
        return self._on("onUninstall", handler)

    def on_update(self, handler: Decorated) -> Decorated:
        """Runs ``async def handler(api, update)`` in the new version when an installation is updated to it.

        ``update.from_version`` is the version that the installation had. What it does is one transaction; when it
        raises, nothing of it is kept and the installation stays at its former version.
        """
        return self._on("onUpdate", handler, ("api", "update"))

    def hook(
        self,
        event: str,
        *,
        attempts: int | None = None,
        first_pause: float | None = None,
        longest_pause: float | None = None,
        ordered: bool = False,
    ) -> Callable[[Decorated], Decorated]:
        """Runs ``async def handler(api, event)`` for each event of a type, such as ``sale.created``.

        One that fails is tried ``attempts`` times in all (8 by default, which is also the most unless the operator
        says otherwise), after pauses in seconds that double from ``first_pause`` (10) to ``longest_pause`` (3,600) and
        are cut at random; then the event becomes a dead letter, which can be replayed. ``ordered``: while an event
        waits for its next attempt, later ones about the same entity wait behind it.
        """
        if not EVENT_TYPE.fullmatch(event):
            raise DeclarationError(f"hook {event!r}: not an event type such as sale.created or other-plugin/event")
        for name, value in (("attempts", attempts), ("first_pause", first_pause), ("longest_pause", longest_pause)):
            if value is not None and value <= 0:
                raise DeclarationError(f"hook {event!r}: {name} must be above 0, not {value!r}")
        declaration = HookDeclaration(
            event=event,
            attempts=attempts,
            first_pause_seconds=first_pause,
            longest_pause_seconds=longest_pause,
            ordered=ordered,
        )

        def declare(handler: Decorated) -> Decorated:
            hook = _Hook(declaration, _accepting(handler, ("api", "event")))
            _declare(self._hooks, event, hook, f"hook {event!r}")
            return handler

        return declare

    def route(self, method: Method, path: str) -> Callable[[Decorated], Decorated]:
        """Runs ``async def handler(api, request)`` for ``/api/plugins/{pluginId}/api`` + ``path``.

        ``{name}`` in ``path`` matches one segment. The handler returns a Response, or a dict or list as JSON.
        """
        if method not in get_args(Method):
            raise DeclarationError(f"route {method!r} {path!r}: the method is one of {', '.join(get_args(Method))}")
        if not ROUTE_PATH.fullmatch(path):
            raise DeclarationError(f"route {method} {path!r}: not a path such as /points/{{customer_id}}")

        def declare(handler: Decorated) -> Decorated:
            _declare(self._routes, (method, path), _accepting(handler, ("api", "request")), f"route {method} {path}")
            return handler

        return declare

    def schedule(
        self,
        cron: str,
        *,
        timezone: str = "UTC",
        missed: Literal["skip", "once", "all"] = "once",
        name: str | None = None,
    ) -> Callable[[Decorated], Decorated]:
        """Runs ``async def handler(api, tick)`` at the times of a cron expression, such as ``0 2 * * *``.

        The five fields (minute, hour, day of month, month, day of week) are read in the IANA time zone ``timezone``.
        A fixed time that the clock skips in spring runs right after the gap, one that it repeats in autumn runs once.
        ``missed`` says what becomes of ticks that nobody was there for: none (``skip``), the latest (``once``), or each
        (``all``, the latest 1,000). The name is the function's unless given.
        """
        try:
            check_cron(cron, timezone)
        except ValueError as error:
            raise DeclarationError(f"schedule {error}") from error
        if missed not in ("skip", "once", "all"):
            raise DeclarationError(f"schedule {cron!r}: missed is skip, once or all, not {missed!r}")

        def declare(handler: Decorated) -> Decorated:
            known = _handler_name(handler, name, "schedule")
            accepting = _accepting(handler, ("api", "tick"))
            declaration = ScheduleDeclaration(name=known, cron=cron, timezone=timezone, missed=missed)
            _declare(self._schedules, known, _Schedule(declaration, accepting), f"schedule {known!r}")
            return handler

        return declare

    def job(self, name: str | None = None) -> Callable[[Decorated], Decorated]:
        """Runs ``async def handler(api, job)`` for each job of this name that :meth:`Api.enqueue` asked for.

        The name is the function's unless given.
        """

        def declare(handler: Decorated) -> Decorated:
            known = _handler_name(handler, name, "job")
            _declare(self._jobs, known, _accepting(handler, ("api", "job")), f"job {known!r}")
            return handler

        return declare

    def component(self, injection_point: str, *, priority: int = 0) -> Callable[[Decorated], Decorated]:
        """Offers what ``def function() -> Component`` returns at an injection point; read when the plugin is built.

        A higher ``priority`` comes first. The function's name is the component's.
        """
        if injection_point not in INJECTION_POINTS:
            raise DeclarationError(f"component: {injection_point!r} is none of {', '.join(INJECTION_POINTS)}")

        def declare(function: Decorated) -> Decorated:
            where = f"component {function.__name__!r} at {injection_point}"
            if inspect.iscoroutinefunction(function) or inspect.signature(function).parameters:
                raise DeclarationError(f"{where}: must be a plain function without parameters that returns a Component")
            _declare(self._components, (injection_point, function.__name__), _Offer(priority, function), where)
            return function

        return declare

    def _on(self, lifecycle: Lifecycle, handler: Decorated, offered: tuple[str, ...] = ("api",)) -> Decorated:
        _declare(self._lifecycle, lifecycle, _accepting(handler, offered), lifecycle)
        return handler


@dataclass(frozen=True, slots=True)
class Declared:
    """What a plugin's code declares, in the words of the manifest."""

    lifecycle: tuple[Lifecycle, ...]
    hooks: tuple[HookDeclaration, ...]
    routes: tuple[RouteDeclaration, ...]
    schedules: tuple[ScheduleDeclaration, ...]
    jobs: tuple[JobDeclaration, ...]


def declared(plugin: Plugin) -> Declared:
    """Read what a plugin's code handles."""
    return Declared(
        lifecycle=tuple(plugin._lifecycle),
        hooks=tuple(hook.declaration for hook in plugin._hooks.values()),
        routes=tuple(RouteDeclaration(method=method, path=path) for method, path in plugin._routes),
        schedules=tuple(schedule.declaration for schedule in plugin._schedules.values()),
        jobs=tuple(JobDeclaration(name=name) for name in plugin._jobs),
    )


def declared_components(plugin: Plugin) -> tuple[ComponentDeclaration, ...]:
    """Evaluate a plugin's component functions. Raises :class:`DeclarationError`."""
    made: list[ComponentDeclaration] = []
    for (point, name), (priority, function) in plugin._components.items():
        component = function()
        if not isinstance(component, Component):
            raise DeclarationError(f"component {name!r} at {point}: returned {component!r}, not a Component")
        if component.route is not None and ("GET", component.route) not in plugin._routes:
            raise DeclarationError(f"component {name!r} at {point}: the plugin has no route GET {component.route}")
        made.append(
            ComponentDeclaration(
                injection_point=point,
                name=name,
                title=component.title,
                priority=priority,
                route=component.route,
                bundle=component.bundle,
            )
        )
    return tuple(made)


def lifecycle_handlers(plugin: Plugin) -> Mapping[Lifecycle, Handler]:
    """The handlers by lifecycle hook; each takes ``(api)``, that of an update ``(api, update)``."""
    return plugin._lifecycle


def hook_handlers(plugin: Plugin) -> Mapping[str, Handler]:
    """The handlers by event type; each takes ``(api, event)``."""
    return {event: hook.handler for event, hook in plugin._hooks.items()}


def route_handlers(plugin: Plugin) -> Mapping[tuple[Method, str], Handler]:
    """The handlers by method and path; each takes ``(api, request)``."""
    return plugin._routes


def schedule_handlers(plugin: Plugin) -> Mapping[str, Handler]:
    """The handlers by the schedule's name; each takes ``(api, tick)``."""
    return {name: schedule.handler for name, schedule in plugin._schedules.items()}


def job_handlers(plugin: Plugin) -> Mapping[str, Handler]:
    """The handlers by the job's name; each takes ``(api, job)``."""
    return plugin._jobs


def component_functions(plugin: Plugin) -> Mapping[tuple[str, str], Callable[[], Component]]:
    """The functions that return components, by injection point and name."""
    return {place: offer.function for place, offer in plugin._components.items()}


Key = TypeVar("Key")
Value = TypeVar("Value")


def _declare(known: dict[Key, Value], key: Key, value: Value, name: str) -> None:
    if key in known:
        raise DeclarationError(f"{name} is declared twice")
    known[key] = value


def _handler_name(handler: Callable[..., Any], name: str | None, kind: str) -> str:
    known = getattr(handler, "__name__", "") if name is None else name
    if not HANDLER_NAME.fullmatch(known):
        raise DeclarationError(f"{kind} {known!r}: a name is of lower-case letters, digits, - and _")
    return known


def _accepting(handler: Callable[..., Any], offered: tuple[str, ...]) -> Handler:
    """``handler`` as something that takes all of ``offered``, however few of them it names."""
    name = getattr(handler, "__qualname__", repr(handler))
    if not inspect.iscoroutinefunction(handler):
        raise DeclarationError(f"{name} must be written as async def {name}({', '.join(offered)})")
    taken = 0
    for parameter in inspect.signature(handler).parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            return handler
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            # A parameter with a default beyond what is offered is the author's own.
            if taken < len(offered):
                taken += 1
            elif parameter.default is parameter.empty:
                raise DeclarationError(f"{name} takes more than ({', '.join(offered)})")
        elif parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty:
            raise DeclarationError(f"{name}: {parameter.name!r} is keyword-only and nobody passes it")
    if taken == len(offered):
        return handler

    @functools.wraps(handler)
    async def call_with_fewer(*arguments: Any) -> Any:
        return await handler(*arguments[:taken])

    return call_with_fewer
