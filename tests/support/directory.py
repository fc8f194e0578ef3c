"""What the registry publishes, and waiting until somebody has followed it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from aiokafka import AIOKafkaProducer

from outlet.manifest import ComponentDeclaration, Manifest, RouteDeclaration
from services.common.directory import REVISION_HEADER, Installation, encode_installation
from services.common.topics import INSTALLATIONS

Found = TypeVar("Found")


async def eventually(check: Callable[[], Awaitable[Found]], *, within: float = 10.0) -> Found:
    """Repeat ``check`` until it returns something true; what it returned."""
    async with asyncio.timeout(within):
        while not (found := await check()):  # noqa: ASYNC110  what is awaited happens in another process
            await asyncio.sleep(0.02)
    return found


MANIFEST = Manifest(
    plugin_id="loyalty-points",
    name="Loyalty points",
    version="1.2.0",
    author="Outlet",
    description="Points for purchases.",
    entry="loyalty_points:plugin",
    routes=(
        RouteDeclaration(method="GET", path="/points/{customer_id}"),
        RouteDeclaration(method="POST", path="/points/{customer_id}/redeem"),
        RouteDeclaration(method="POST", path="/points/{customer_id}"),
    ),
    components=(
        ComponentDeclaration(
            injection_point="POS.AfterCheckout",
            name="points_earned",
            title="Points earned",
            priority=10,
            route="/points/{customer_id}",
        ),
    ),
)


def installation(**changes: Any) -> Installation:
    """An active installation of the loyalty plugin for all of ``acme``."""
    facts: dict[str, Any] = {
        "id": "in-1",
        "revision": 1,
        "plugin_id": "loyalty-points",
        "version": "1.2.0",
        "digest": "sha256:0",
        "organization_id": "acme",
        "store_id": None,
        "status": "active",
        "config": {},
        "grants": (),
        "manifest": MANIFEST,
    }
    return Installation(**(facts | changes))


async def publish(producer: AIOKafkaProducer, *installations: Installation) -> None:
    """Put installations on their topic as the registry does."""
    for each in installations:
        await producer.send_and_wait(
            INSTALLATIONS.name,
            key=each.id.encode(),
            value=encode_installation(each),
            headers=[(REVISION_HEADER, str(each.revision).encode())],
            partition=0,
        )
