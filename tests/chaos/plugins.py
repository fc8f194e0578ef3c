"""The plugins that run beside the loyalty programme: one that calls out, one that fails.

Their tables have no unique constraint: an effect that happens twice must be seen, not refused.
"""

from pathlib import Path

from outlet.package import Package, build

CALLER = "chaos-caller"
FAILING = "chaos-failing"
HOST = "receiver.localhost"

_CALLER_ABOUT = f"""
[plugin]
id = "{CALLER}"
name = "Caller"
version = "1.0.0"
author = "Tests"
description = "Tells a receiver of each sale, and keeps what it answered."

[[hosts]]
name = "{HOST}"
purpose = "to receive sales"

[settings]
type = "object"
properties.url = {{ type = "string" }}
"""

_CALLER_CODE = """
from outlet import Plugin, column

plugin = Plugin()


@plugin.on_install
async def install(api):
    await api.create_table("calls", {"event": column.text(), "answer": column.text()}, indexes=[["event"]])
    await api.create_table("ticks", {"tick": column.text(), "planned": column.timestamp()})


@plugin.hook("sale.created")
async def tell(api, event):
    response = await api.fetch(api.get_config("url"), method="POST", json={"event": event.id})
    if not response.ok:
        raise RuntimeError(f"the receiver answered {response.status}")
    await api.table("calls").create({"event": event.id, "answer": response.text()})


@plugin.schedule("* * * * *", missed="all")
async def minute(api, tick):
    await api.table("ticks").create({"tick": tick.id, "planned": tick.planned})
"""

_FAILING_ABOUT = f"""
[plugin]
id = "{FAILING}"
name = "Failing"
version = "1.0.0"
author = "Tests"
description = "Fails on some sales always, on others at some attempts, on most never."
"""

# What it does with an event follows from the event's id and the attempt alone, see fate.py. It writes before it fails,
# so that an effect which outlives the failure shows. Attempts are counted by each process for itself: one more way to
# differ from what the platform takes for the truth.
_FAILING_CODE = """
import collections
import hashlib

from outlet import Plugin, column

plugin = Plugin()
attempts = collections.Counter()


def chance(text):
    return hashlib.sha256(text.encode()).digest()[0] / 256


@plugin.on_install
async def install(api):
    await api.create_table("effects", {"event": column.text()})


@plugin.hook("sale.created", attempts=4, first_pause=0.2, longest_pause=1)
async def act(api, event):
    attempts[event.id] += 1
    attempt = attempts[event.id]
    await api.table("effects").create({"event": event.id})
    kind = chance(event.id)
    if kind < 0.1 or kind < 0.3 and chance(f"{event.id}/{attempt}") < 0.5:
        raise RuntimeError(f"attempt {attempt} was to fail")
"""


def caller(folder: Path) -> Package:
    """The plugin that calls out, its project written into ``folder``."""
    return _build(folder, CALLER, _CALLER_ABOUT, _CALLER_CODE)


def failing(folder: Path) -> Package:
    """The plugin that fails, likewise."""
    return _build(folder, FAILING, _FAILING_ABOUT, _FAILING_CODE)


def _build(folder: Path, plugin_id: str, about: str, code: str) -> Package:
    module = plugin_id.replace("-", "_")
    (folder / plugin_id / module).mkdir(parents=True)
    (folder / plugin_id / "plugin.toml").write_text(about)
    (folder / plugin_id / module / "__init__.py").write_text(code)
    return build(folder / plugin_id)
