"""The host's side of the Plugin API for one attempt of one invocation.

Every decision is made from the invocation that the host itself started; what a guest sends is only ever an argument.
"""

from typing import Any

import msgspec

from outlet._calls import SAVEPOINT
from services.runtime.delivery.unit_of_work import inside
from services.runtime.plugin_api.configuration import Configuration
from services.runtime.plugin_api.custom_tables import CustomTables
from services.runtime.plugin_api.errors import ApiRefusal
from services.runtime.plugin_api.events import Events
from services.runtime.plugin_api.fetch import Fetch
from services.runtime.plugin_api.groups import Context, Group, Method
from services.runtime.plugin_api.jobs import Jobs
from services.runtime.plugin_api.key_values import KeyValues
from services.runtime.plugin_api.logs import Logs
from services.runtime.plugin_api.models import Models
from services.runtime.plugin_api.notices import Notices
from services.runtime.plugin_api.places import Places
from services.runtime.plugin_api.plugin_calls import PluginCalls
from services.runtime.plugin_api.savepoints import Savepoints
from services.runtime.plugin_api.validation import Validation
from services.runtime.plugin_api.webhooks import Webhooks

GROUPS: tuple[type[Group], ...] = (
    Configuration,
    CustomTables,
    Events,
    Fetch,
    Jobs,
    KeyValues,
    Logs,
    Models,
    Notices,
    Places,
    PluginCalls,
    Savepoints,
    Validation,
    Webhooks,
)
METHODS: dict[str, Method] = {name: found for group in GROUPS for name, found in group.methods.items()}


class PluginApiSession:
    """Answers the API calls of one attempt."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._groups: dict[type[Group], Group] = {}

    @property
    def changed_config(self) -> bytes | None:
        """The whole configuration as JSON when the invocation changed it."""
        return None if self._context.config is None else msgspec.json.encode(self._context.config)

    def committed(self) -> None:
        """The attempt was committed."""
        for callback in self._context.committed:
            callback()

    async def __call__(self, name: str, arguments: dict[str, Any]) -> Any:
        """Answer one API call. Raises ApiRefusal, or what the database failed with."""
        found = METHODS.get(name)
        if found is None:
            raise ApiRefusal("unknown_method", f"the Plugin API has no {name!r:.80}")
        savepoint = arguments.pop(SAVEPOINT, 0)
        try:
            call = msgspec.convert(arguments, found.arguments)
        except msgspec.ValidationError as error:
            raise ApiRefusal("invalid_arguments", f"{name}: {error}") from error
        group = self._groups.get(found.group)
        if group is None:
            group = self._groups[found.group] = found.group(self._context)
        if savepoint == 0:  # as nearly always
            return await found.answer(group, call)
        with inside(savepoint):
            return await found.answer(group, call)
