"""Counts customers' visits and shows them on their profile."""

from typing import Any

from outlet import Api, Component, Event, Plugin, Request

plugin = Plugin()


@plugin.hook("sale.created")
async def visited(api: Api, event: Event) -> None:
    """A completed sale of a known customer is a visit."""
    customer = event.data.get("customerId")
    if customer and event.data["status"] == "completed":
        await api.increment_data(f"visits/{customer}")


@plugin.route("GET", "/visits/{customer_id}")
async def read(api: Api, request: Request) -> dict[str, Any]:
    """What the component shows."""
    customer = request.params["customer_id"]
    return {"customerId": customer, "visits": await api.get_data(f"visits/{customer}", 0)}


@plugin.component("Customer.Profile")
def visits() -> Component:
    """The number of visits, drawn by ui/visits.js."""
    return Component(title="Visits", route="/visits/{customer_id}", bundle="visits")
