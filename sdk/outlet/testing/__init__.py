"""Test plugins in memory, with the platform's own rules.

    async def test_a_sale_earns_points(outlet_plugin: InstalledPlugin) -> None:
        await outlet_plugin.send("sale.created", {"id": "s-1", "customerId": "c-1", "total": "20.00"})
        assert (await outlet_plugin.get("/points/c-1")).json() == {"points": 20}

Handlers run as they do in the platform: what a call did is kept when it returns and undone when it raises; permissions,
scopes, limits and errors are the same, and carry the same codes. What is not here: processes (a plugin can reach the
network and the disk in a test, and nowhere else), several calls at a time, and what the clock does by itself.
"""

from outlet.testing._fetching import NoAnswer, Reply
from outlet.testing._installation import InstalledPlugin
from outlet.testing._observed import Answer, Emitted, Fetched, LogLine, Notice, PluginFailed, Published, WaitingJob
from outlet.testing._platform import Platform

__all__ = [
    "Answer",
    "Emitted",
    "Fetched",
    "InstalledPlugin",
    "LogLine",
    "NoAnswer",
    "Notice",
    "Platform",
    "PluginFailed",
    "Published",
    "Reply",
    "WaitingJob",
]
