"""A plugin that sends each sale to a receiver outside, and has webhooks for it."""

from pathlib import Path

from outlet.package import Package, build

PLUGIN_ID = "calling-out"
HOST = "receiver.localhost"

_ABOUT = f"""
[plugin]
id = "{PLUGIN_ID}"
name = "Calling out"
version = "1.0.0"
author = "Tests"
description = "Sends each sale on."

[[hosts]]
name = "{HOST}"
purpose = "to receive sales"

[settings]
type = "object"
properties.url = {{ type = "string" }}
properties.apiKey = {{ type = "string", format = "secret" }}
"""

_CODE = """
from outlet import ApiError, Plugin, column

plugin = Plugin()


@plugin.on_install
async def install(api):
    await api.create_table("sent", {"sale": column.text(), "outcome": column.text()}, unique=[["sale"]])


@plugin.hook("sale.created")
async def send(api, event):
    sale = event.data["id"]
    try:
        response = await api.fetch(
            api.get_config("url") + "/sales",
            method="POST",
            json={"id": sale},
            headers={"Authorization": f"Bearer {api.secret('apiKey')}"},
        )
        outcome = f"{response.status} {response.text()}"
    except ApiError as error:
        outcome = error.code
    await api.table("sent").create({"sale": sale, "outcome": outcome})


@plugin.route("GET", "/sent")
async def sent(api):
    return {row["sale"]: row["outcome"] for row in await api.table("sent").find(limit=1000)}


@plugin.route("POST", "/webhook")
async def register(api):
    webhook = await api.webhooks.register("sale.created", api.get_config("url") + "/webhook")
    return {"id": webhook.id, "secret": webhook.secret}


@plugin.route("GET", "/deliveries/{id}")
async def deliveries(api, request):
    found = await api.webhooks.deliveries(request.params["id"])
    shown = ("id", "status", "attempts", "response_code", "error")
    return {"deliveries": [{name: getattr(one, name) for name in shown} for one in found]}
"""


def calling_plugin(folder: Path) -> Package:
    """Write the plugin's project into an empty folder and build it."""
    (folder / "calling_out").mkdir()
    (folder / "plugin.toml").write_text(_ABOUT)
    (folder / "calling_out" / "__init__.py").write_text(_CODE)
    return build(folder)
