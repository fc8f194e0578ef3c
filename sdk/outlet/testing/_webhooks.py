"""Webhooks in memory: registered, and told what they would be sent. Nothing is sent."""

import secrets
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from outlet._rules.arguments.webhooks import ListAll, Log, Named, Register
from outlet._rules.destinations import destination
from outlet._rules.emitting import EVENT_NAME
from outlet._rules.refusal import ApiRefusal
from outlet.testing._groups import Group, method
from outlet.testing._store import Collection

MOST_WEBHOOKS = 100
MOST_DELIVERIES = 100


@dataclass(frozen=True, slots=True)
class Registered:
    """A webhook as it is kept."""

    id: str
    event: str
    url: str
    secret: str
    created_at: datetime

    def told(self) -> dict[str, Any]:
        """What registering and rotating answer."""
        return {name: value for name, value in asdict(self).items() if name != "created_at"}

    def listed(self) -> dict[str, Any]:
        """What listing answers."""
        unseen = dict.fromkeys(("failing_since", "disabled_at", "disabled_reason"))
        return {name: value for name, value in asdict(self).items() if name != "secret"} | unseen


def webhooks(installation_id: str) -> Collection:
    """Where the webhooks of an installation are."""
    return ("webhooks", installation_id)


class Webhooks(Group):
    """The installation's own webhooks. Their deliveries are the platform's business: the log of them stays empty."""

    @method("webhooks.register", Register)
    async def register(self, call: Register) -> dict[str, Any]:
        event = self._event(call.event)
        url = str(destination(self.plugin.manifest, self.plugin.grants, call.url))
        work = self.writes()
        known = {(found.event, found.url): found for _, found in work.scan(self._place)}
        found = known.get((event, url))
        if found is None:
            if len(known) >= MOST_WEBHOOKS:
                raise ApiRefusal("too_many_webhooks", f"an installation has at most {MOST_WEBHOOKS} webhooks")
            found = Registered(f"wh_{self.platform.new_id()}", event, url, _new_secret(), self.platform.moment())
            work.put(self._place, found.id, found)
        return found.told()

    @method("webhooks.remove", Named)
    async def remove(self, call: Named) -> bool:
        work = self.writes()
        known = work.get(self._place, call.id) is not None
        work.drop(self._place, call.id)
        return known

    @method("webhooks.rotate", Named)
    async def rotate(self, call: Named) -> dict[str, Any]:
        work = self.writes()
        found: Registered | None = work.get(self._place, call.id)
        if found is None:
            raise ApiRefusal("unknown_webhook", f"there is no webhook {call.id[:60]!r}")
        changed = Registered(found.id, found.event, found.url, _new_secret(), found.created_at)
        work.put(self._place, found.id, changed)
        return changed.told()

    @method("webhooks.deliveries", Log)
    async def deliveries(self, call: Log) -> list[dict[str, Any]]:
        if not 1 <= call.limit <= MOST_DELIVERIES:
            raise ApiRefusal("invalid_arguments", f"limit is 1 to {MOST_DELIVERIES}")
        self.reads()
        return []

    @method("webhooks.list", ListAll)
    async def list(self, _: ListAll) -> list[dict[str, Any]]:
        found = [registered for _, registered in self.reads().scan(self._place)]
        return [registered.listed() for registered in sorted(found, key=lambda each: each.created_at)]

    @property
    def _place(self) -> Collection:
        return webhooks(self.plugin.id)

    def _event(self, name: str) -> str:
        """The event's type: one that the plugin emits, or one that it has a hook for."""
        manifest = self.plugin.manifest
        if name in {hook.event for hook in manifest.hooks}:
            return name
        prefix = f"{manifest.plugin_id}/"
        own = name.removeprefix(prefix)
        if not EVENT_NAME.fullmatch(own) or (own == name and "." in name):
            detail = f"{name[:80]!r} is neither emitted by the plugin nor one that it has a hook for"
            raise ApiRefusal("unknown_event", detail)
        return prefix + own


def _new_secret() -> str:
    return f"whsec_{secrets.token_hex(16)}"
