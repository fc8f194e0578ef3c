"""Does next to nothing, so that what is around it can be measured."""

from outlet import Api, Event, Plugin

plugin = Plugin()


@plugin.hook("sale.noted")
async def ignore(api: Api, event: Event) -> None:
    """The no-op."""


@plugin.hook("sale.counted")
async def ask(api: Api, event: Event) -> None:
    """Ask the platform as often as the event says, one call after the other."""
    for _ in range(event.data["calls"]):
        await api.table("accounts").find_one({"customer_id": "c-1"})
