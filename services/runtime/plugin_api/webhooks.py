"""The methods of webhooks: ``webhooks.register``, ``webhooks.list``, ..."""

from typing import Any

from outlet._rules.arguments.webhooks import ListAll, Log, Named, Register
from services.runtime.outbound.destinations import destination
from services.runtime.outbound.webhooks import repository
from services.runtime.plugin_api.errors import ApiRefusal
from services.runtime.plugin_api.events import EVENT_NAME
from services.runtime.plugin_api.groups import Group, method

MOST_DELIVERIES = 100


class Webhooks(Group):
    """The installation's own webhooks. Changes are part of the invocation's transaction."""

    @method("webhooks.register", Register)
    async def register(self, call: Register) -> dict[str, Any]:
        event = self._event(call.event)
        url = str(destination(self.installation, call.url, plain_http=self.context.resources.fetcher.plain_http))
        async with self.work.use(writes=True) as connection:
            try:
                found = await repository.register(connection, self.installation.id, event, url)
            except repository.TooManyWebhooks:
                most = repository.MOST_WEBHOOKS
                raise ApiRefusal("too_many_webhooks", f"an installation has at most {most} webhooks") from None
        self.context.resources.webhooks.expect(self.installation.id, event)
        return found

    @method("webhooks.remove", Named)
    async def remove(self, call: Named) -> bool:
        async with self.work.use(writes=True) as connection:
            return await repository.remove(connection, self.installation.id, call.id)

    @method("webhooks.rotate", Named)
    async def rotate(self, call: Named) -> dict[str, Any]:
        async with self.work.use(writes=True) as connection:
            found = await repository.rotate(connection, self.installation.id, call.id)
        if found is None:
            raise ApiRefusal("unknown_webhook", f"there is no webhook {call.id[:60]!r}")
        return found

    @method("webhooks.deliveries", Log)
    async def deliveries(self, call: Log) -> list[dict[str, Any]]:
        if not 1 <= call.limit <= MOST_DELIVERIES:
            raise ApiRefusal("invalid_arguments", f"limit is 1 to {MOST_DELIVERIES}")
        if call.before is not None and call.before.tzinfo is None:
            raise ApiRefusal("invalid_arguments", "before has a time zone")
        async with self.work.use(writes=False) as connection:
            return await repository.deliveries(connection, self.installation.id, call.id, call.before, call.limit)

    @method("webhooks.list", ListAll)
    async def list(self, _: ListAll) -> list[dict[str, Any]]:
        async with self.work.use(writes=False) as connection:
            return await repository.listed(connection, self.installation.id)

    def _event(self, name: str) -> str:
        """The event's type: one that the plugin emits, or one that it has a hook for."""
        manifest = self.installation.manifest
        if name in {hook.event for hook in manifest.hooks}:
            return name
        prefix = f"{manifest.plugin_id}/"
        own = name.removeprefix(prefix)
        # A bare name with a dot is one of the platform's own events, for which there is no hook.
        if not EVENT_NAME.fullmatch(own) or (own == name and "." in name):
            detail = f"{name[:80]!r} is neither emitted by the plugin nor one that it has a hook for"
            raise ApiRefusal("unknown_event", detail)
        return prefix + own
