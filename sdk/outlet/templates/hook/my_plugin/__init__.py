"""Counts each store's sales, and says so."""

from typing import Any

from outlet import Api, Event, Plugin, Request

plugin = Plugin()


@plugin.hook("sale.created")
async def count(api: Api, event: Event) -> None:
    """Runs once for every sale. All that it does is kept when it returns, and undone when it raises."""
    if event.data["status"] != "completed":
        return
    sales = await api.increment_data(f"sales/{event.store}")
    await api.emit("sale-counted", {"store": event.store, "sales": sales})
    api.log("info", f"sale {event.data['id']} is number {sales} of {event.store}")


@plugin.route("GET", "/sales/{store}")
async def read(api: Api, request: Request) -> dict[str, Any]:
    """How many sales a store has had: ``/api/plugins/my-plugin/api/sales/{store}``."""
    store = request.params["store"]
    return {"store": store, "sales": await api.get_data(f"sales/{store}", 0)}
