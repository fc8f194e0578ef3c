"""Settings: read from the guest's own copy, changed here."""

from typing import Any

from services.runtime.plugin_api.errors import ApiRefusal
from services.runtime.plugin_api.groups import Arguments, Group, method


class SetConfig(Arguments):
    key: str
    value: Any


class Configuration(Group):
    """``config.set``. The registry stores what a lifecycle hook changed, once the hook has succeeded."""

    @method("config.set", SetConfig)
    async def set(self, call: SetConfig) -> None:
        if self.invocation.kind != "lifecycle":
            raise ApiRefusal("not_allowed_here", "the configuration can be set in lifecycle hooks only")
        if self.work.nested:
            raise ApiRefusal("not_allowed_here", "the configuration is set outside of api.transaction()")
        self.context.config = {**(self.context.config or self.installation.config), call.key: call.value}
