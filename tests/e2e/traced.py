"""Two plugins that hand one sale on: what the first one emits, the second one hears."""

from pathlib import Path

from outlet.package import Package, build

FIRST = "first-of-two"
SECOND = "second-of-two"
HOST = "receiver.localhost"

_ABOUT = """
[plugin]
id = "{id}"
name = "{id}"
version = "1.0.0"
author = "Tests"
description = "Hands a sale on."

[[hosts]]
name = "receiver.localhost"
purpose = "to receive sales"

[settings]
type = "object"
properties.url = {{ type = "string" }}
"""

_CODE = {
    FIRST: """
from outlet import Plugin

plugin = Plugin()


@plugin.hook("sale.created")
async def noticed(api, event):
    await api.emit("noticed", {"id": event.data["id"]})


@plugin.route("POST", "/webhook")
async def register(api):
    return {"id": (await api.webhooks.register("noticed", api.get_config("url") + "/webhook")).id}
""",
    SECOND: """
from outlet import Plugin

plugin = Plugin()
tried = set()


@plugin.hook("first-of-two/noticed")
async def heard(api, event):
    if event.id not in tried:  # only this process knows of the first attempt
        tried.add(event.id)
        raise RuntimeError("customer 4711 is not to be told")
    await api.enqueue("tell", {"sale": event.data["id"]})


@plugin.job("tell")
async def tell(api, job):
    await api.fetch(api.get_config("url") + "/told", headers={"traceparent": "a forgery"})
    await api.set_data(job.payload["sale"], "told")


@plugin.route("GET", "/told/{sale}")
async def told(api, request):
    return {"told": await api.get_data(request.params["sale"])}
""",
}


def plugin(folder: Path, plugin_id: str) -> Package:
    """Write a plugin's project into a folder and build it."""
    module = folder / plugin_id.replace("-", "_")
    module.mkdir(parents=True)
    (folder / "plugin.toml").write_text(_ABOUT.format(id=plugin_id))
    (module / "__init__.py").write_text(_CODE[plugin_id])
    return build(folder)
