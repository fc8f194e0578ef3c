"""A plugin that does what no plugin should, when and where it is told to."""

from pathlib import Path

from outlet.package import Package, build

PLUGIN_ID = "misbehaving"

CODES = {
    "raise": "plugin_raised",
    "return-rubbish": "plugin_bad_result",
    "hang-awaiting": "plugin_timeout",
    "hang-busy": "plugin_timeout",
    "os-exit": "plugin_exited",
    "sys-exit": "plugin_exited",
    "segfault": "plugin_exited",
    "write-garbage": "plugin_protocol_error",
}
"""Each way to misbehave, and the code of the failure that the platform must see in it."""

_ABOUT = f"""
[plugin]
id = "{PLUGIN_ID}"
name = "Misbehaving"
version = "1.0.0"
author = "Tests"
description = "Does what no plugin should."
"""

_CODE = """
import asyncio
import faulthandler
import os
import sys

from outlet import Plugin, column

plugin = Plugin()
CONNECTION = 3  # the descriptor of the stream to the worker


async def misbehave(how):
    match how:
        case "raise":
            raise RuntimeError("a secret of the author")
        case "return-rubbish":
            return object()
        case "hang-awaiting":
            await asyncio.Event().wait()
        case "hang-busy":
            while True:
                pass
        case "os-exit":
            os._exit(3)
        case "sys-exit":
            sys.exit(3)
        case "segfault":
            faulthandler._sigsegv()
        case "write-garbage":
            os.write(CONNECTION, b"garbage" * 100)
            await asyncio.Event().wait()


@plugin.on_install
async def install(api):
    await api.create_table("seen", {"sale": column.text()}, unique=[["sale"]])
    return await misbehave(api.get_config("onInstall"))


@plugin.on_activate
async def activate(api):
    return await misbehave(api.get_config("onActivate"))


@plugin.on_deactivate
async def deactivate(api):
    return await misbehave(api.get_config("onDeactivate"))


@plugin.on_uninstall
async def uninstall(api):
    return await misbehave(api.get_config("onUninstall"))


@plugin.hook("sale.created")
async def see(api, event):
    await api.table("seen").create({"sale": event.data["id"]})
    return await misbehave(event.data.get("misbehave"))


@plugin.route("GET", "/seen")
async def seen(api):
    return {"seen": [row["sale"] for row in await api.table("seen").find(limit=1000)]}


@plugin.route("POST", "/do/{how}")
async def do(api, request):
    await api.table("seen").create({"sale": request.params["how"]})
    return await misbehave(request.params["how"])
"""


def misbehaving_plugin(folder: Path) -> Package:
    """Write the plugin's project into an empty folder and build it."""
    (folder / "misbehaving").mkdir()
    (folder / "plugin.toml").write_text(_ABOUT)
    (folder / "misbehaving" / "__init__.py").write_text(_CODE)
    return build(folder)
