"""What plugins log."""

from typing import Any

import structlog

from services.runtime.plugin_api.groups import Arguments, Group, method

log = structlog.get_logger("plugin")

LEVELS = ("debug", "info", "warning", "error")


class LogLine(Arguments):
    level: str
    message: str
    meta: dict[str, Any] = {}


class Logs(Group):
    """``log``: one line of the worker's own log, marked with the installation, and of the installation's recent log."""

    @method("log", LogLine)
    async def write(self, call: LogLine) -> None:
        level = call.level if call.level in LEVELS else "info"
        getattr(log, level)(
            call.message,
            installation=self.installation.id,
            plugin=self.installation.plugin_id,
            during=self.invocation.target,
            meta=call.meta,
        )
        during, store = self.invocation.target, self.invocation.store
        self.context.resources.logs.add(self.installation.id, level, call.message, during, store, call.meta)
