"""What a worker holds for all invocations, as tests need it."""

from typing import Any

from services.runtime.outbound.client import OutboundClient
from services.runtime.outbound.fetching import Fetcher
from services.runtime.outbound.guard import Guard
from services.runtime.outbound.limits import FetchLimits
from services.runtime.plugin_api.groups import Resources
from services.runtime.plugin_api.tables import TableCatalog


def resources(**changes: Any) -> Resources:
    """Resources of one's own, with ``changes``."""
    defaults: dict[str, Any] = {"tables": TableCatalog(), "fetcher": fetcher()}
    return Resources(**(defaults | changes))


def fetcher(guard: Guard | None = None, *addresses: str) -> Fetcher:
    """A fetcher for whom every name leads to ``addresses``, or to nothing."""

    async def resolve(host: str, port: int) -> list[str]:
        return list(addresses)

    return Fetcher(OutboundClient(guard or Guard(), resolve), FetchLimits())
