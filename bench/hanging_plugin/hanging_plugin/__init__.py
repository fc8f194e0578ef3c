"""Hangs in every call, as a plugin does that waits for a lock for ever: each call runs into its limit."""

import time

from outlet import Api, Event, Plugin

plugin = Plugin()


@plugin.hook("sale.noted")
async def hang(api: Api, event: Event) -> None:
    """Never come back by itself."""
    time.sleep(3_600)  # noqa: ASYNC251  it holds up its whole process, which is the point
