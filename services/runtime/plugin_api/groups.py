"""How the Plugin API is put together: groups of methods, each answering for the invocation that its context holds."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

import anyio

from outlet._rules.arguments import Arguments as Arguments
from services.common.directory import Directory, Installation
from services.common.secret_settings import SecretKeys
from services.common.tracing import OFF, Tracing
from services.runtime.delivery.unit_of_work import UnitOfWork
from services.runtime.invocation import Invocation
from services.runtime.limits.rate_limiter import RateLimiter
from services.runtime.outbound.fetching import Fetcher
from services.runtime.outbound.webhooks.feed import WebhookFeed
from services.runtime.plugin_api.tables import TableCatalog
from services.runtime.plugin_logs import PluginLogs


@dataclass(frozen=True, slots=True)
class Resources:
    """What the worker holds for all invocations."""

    tables: TableCatalog
    directory: Directory
    rates: RateLimiter
    validating: anyio.CapacityLimiter
    """Who has it may evaluate a plugin's schema."""
    fetcher: Fetcher
    keys: SecretKeys
    """They open secret settings."""
    webhooks: WebhookFeed
    tracing: Tracing = OFF
    logs: PluginLogs = field(default_factory=PluginLogs)


@dataclass(slots=True)
class Context:
    """One attempt of one invocation: the only source of what is decided about its calls."""

    invocation: Invocation
    work: UnitOfWork
    resources: Resources
    call: Callable[[Invocation], Awaitable[bytes]] | None = None
    """Runs another plugin's route; raises PluginFailed. None: there are no others."""
    began: float = field(default_factory=time.monotonic)
    config: dict[str, Any] | None = None
    """The whole configuration once the invocation has changed it."""
    committed: list[Callable[[], None]] = field(default_factory=list)
    """Called once the attempt is committed."""

    @property
    def installation(self) -> Installation:
        return self.invocation.installation


@dataclass(frozen=True, slots=True)
class Method:
    """One method of the API: its arguments, and the function of its group that answers."""

    group: "type[Group]"
    arguments: type[Arguments]
    answer: Callable[[Any, Any], Awaitable[Any]]


Answer = TypeVar("Answer", bound=Callable[..., Awaitable[Any]])


def method(name: str, arguments: type[Arguments]) -> Callable[[Answer], Answer]:
    """Make a function of a group answer the method ``name``."""

    def mark(function: Answer) -> Answer:
        function.__dict__["api_method"] = (name, arguments)
        return function

    return mark


class Group:
    """Methods that belong together, for one attempt. Made when the first of them is called."""

    methods: ClassVar[dict[str, Method]] = {}

    def __init_subclass__(cls) -> None:
        marked = [
            (*function.api_method, function) for function in vars(cls).values() if hasattr(function, "api_method")
        ]
        cls.methods = {name: Method(cls, arguments, function) for name, arguments, function in marked}

    def __init__(self, context: Context) -> None:
        self.context = context
        self.invocation = context.invocation
        self.installation = context.installation
        self.work = context.work
