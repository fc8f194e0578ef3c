"""How the Plugin API in memory is put together: groups of methods that answer for one attempt of one invocation."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from outlet._rules.arguments import Arguments as Arguments
from outlet.testing._store import Transaction

if TYPE_CHECKING:
    from outlet.testing._installation import InstalledPlugin
    from outlet.testing._invocation import Invocation
    from outlet.testing._platform import Platform


@dataclass(frozen=True, slots=True)
class Method:
    """One method of the API."""

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
    """Methods that belong together. ``savepoint`` is the one that the present call is made inside of."""

    methods: ClassVar[dict[str, Method]] = {}

    def __init_subclass__(cls) -> None:
        marked = [
            (*function.api_method, function) for function in vars(cls).values() if hasattr(function, "api_method")
        ]
        cls.methods = {name: Method(cls, arguments, function) for name, arguments, function in marked}

    def __init__(self, platform: "Platform", invocation: "Invocation", work: Transaction) -> None:
        self.platform = platform
        self.invocation = invocation
        self.work = work
        self.savepoint = 0

    @property
    def plugin(self) -> "InstalledPlugin":
        """The installation that the invocation is of."""
        return self.invocation.plugin

    def reads(self) -> Transaction:
        """The data, to be read. Raises ApiRefusal."""
        self.work.use(self.savepoint, writes=False)
        return self.work

    def writes(self) -> Transaction:
        """The data, to be changed. Raises ApiRefusal."""
        self.work.use(self.savepoint, writes=True)
        return self.work
