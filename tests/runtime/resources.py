"""What a worker holds for all invocations, as tests need it."""

from typing import Any

import anyio

from services.common.directory import Directory
from services.common.secret_settings import SecretKeys, new_key
from services.runtime.limits.rate_limiter import Allowance
from services.runtime.outbound.client import OutboundClient
from services.runtime.outbound.fetching import Fetcher
from services.runtime.outbound.guard import Guard
from services.runtime.outbound.limits import FetchLimits
from services.runtime.outbound.webhooks.feed import WebhookFeed
from services.runtime.plugin_api.groups import Resources
from services.runtime.plugin_api.tables import TableCatalog


def resources(**changes: Any) -> Resources:
    """Resources of one's own, with ``changes``."""
    defaults: dict[str, Any] = {
        "tables": TableCatalog(),
        "directory": Directory(),
        "rates": Unlimited(),
        "validating": anyio.CapacityLimiter(1),
        "fetcher": fetcher(),
        "keys": SecretKeys.parse(new_key()),
        "webhooks": WebhookFeed(),
    }
    return Resources(**(defaults | changes))


class Unlimited:
    """Lets every API call through."""

    async def take(self, _: str) -> None:
        return None

    def allowance(self, _: str) -> Allowance:
        return Allowance(limit=100, remaining=99, reset=1)


def fetcher(guard: Guard | None = None, *addresses: str) -> Fetcher:
    """A fetcher for whom every name leads to ``addresses``, or to nothing."""

    async def resolve(host: str, port: int) -> list[str]:
        return list(addresses)

    return Fetcher(OutboundClient(guard or Guard(), resolve), FetchLimits())
