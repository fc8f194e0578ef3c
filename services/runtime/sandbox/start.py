"""A guest's way from its fork to its first call: first its walls are seen up, then it loads its package."""

import asyncio
from collections.abc import Sequence

from outlet._frames import MAX_PAYLOAD, PROTOCOL, Chunk, Load, Tier
from services.common.runtime_client import PluginFailed
from services.runtime.sandbox.endings import load_failed
from services.runtime.sandbox.errors import SandboxUnavailable
from services.runtime.sandbox.limits import GuestLimits
from services.runtime.sandbox.stream import GuestStream
from services.runtime.sandbox.tiers import suffices


class Start:
    """Nothing of the package is sent to a guest whose walls are below the tier ``minimum``."""

    def __init__(self, minimum: Tier) -> None:
        self._minimum: Tier = minimum
        loop = asyncio.get_running_loop()
        self._confined: asyncio.Future[None] = loop.create_future()
        self._ready: asyncio.Future[None] = loop.create_future()

    @property
    def confined(self) -> bool:
        """Whether the walls are up."""
        return self._confined.done()

    async def load(self, stream: GuestStream, packages: Sequence[tuple[str, bytes]], limits: GuestLimits) -> None:
        """Returns when the plugin can be called. Raises PluginFailed or SandboxUnavailable.

        ``packages`` are digests and bytes: of the plugin, and after it of the libraries that it imports.
        """
        (digest, size), *libraries = [(name, len(data)) for name, data in packages]
        stream.send(Load(PROTOCOL, digest, size, limits.process, libraries))
        await self._confined
        for _, data in packages:
            for begin in range(0, len(data), MAX_PAYLOAD):
                stream.send(Chunk(data[begin : begin + MAX_PAYLOAD]))
        await self._ready

    def has_walls(self, tier: Tier) -> bool:
        """The guest says which walls are up; whether they suffice."""
        if suffices(tier, self._minimum):
            self._confined.set_result(None)
            return True
        self.fail(SandboxUnavailable(f"a guest has walls of tier {tier}; {self._minimum} is wanted"))
        return False

    def is_ready(self) -> None:
        """The plugin is loaded."""
        self._ready.set_result(None)

    def end(self, verdict: PluginFailed | None) -> None:
        """The guest has ended, if it was loading still: by the plugin's doing, or (None) by nobody's."""
        self.fail(load_failed(verdict))

    def fail(self, error: Exception) -> None:
        """It does not get any further."""
        for stage in (self._confined, self._ready):
            if not stage.done():
                stage.set_exception(error)
                stage.exception()  # only one of them is awaited, and whoever loads may have gone away
