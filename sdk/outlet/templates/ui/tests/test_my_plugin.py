"""What the component shows."""

from pathlib import Path

from outlet import package
from outlet.testing import InstalledPlugin

FOLDER = Path(__file__).parents[1]


async def test_completed_sales_of_known_customers_are_visits(outlet_plugin: InstalledPlugin) -> None:
    await outlet_plugin.send("sale.created", {"id": "s-1", "status": "completed", "customerId": "c-1"})
    await outlet_plugin.send("sale.created", {"id": "s-2", "status": "completed", "customerId": None})
    await outlet_plugin.send("sale.created", {"id": "s-3", "status": "voided", "customerId": "c-1"})
    assert (await outlet_plugin.get("/visits/c-1")).json() == {"customerId": "c-1", "visits": 1}


def test_the_profile_shows_it_with_its_bundle() -> None:
    built = package.build(FOLDER)
    [component] = built.manifest.components
    assert (component.injection_point, component.bundle) == ("Customer.Profile", "visits")
    assert b"customElements" not in built.bundles["visits"]  # the screen names the element
