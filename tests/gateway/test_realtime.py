"""Screens over a real Socket.IO connection: what reaches whom, and what never does."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx
import pytest
import socketio
from aiokafka import AIOKafkaProducer
from socketio.exceptions import ConnectionError as NotConnected

from outlet.local.issuer import Issuer
from services.common.events import DomainEvent
from services.common.settings import IdentitySettings
from services.common.topics import NOTIFICATION_SENT, NOTIFICATIONS, PLUGIN_EVENTS
from services.gateway.app import build_app
from services.gateway.realtime import CHANNEL, rooms_of
from tests.gateway.conftest import BuildSettings
from tests.gateway.support import serving
from tests.support.directory import eventually


@dataclass
class Screen:
    """A browser's side of the connection, and what it was sent."""

    client: socketio.AsyncClient
    events: list[dict[str, Any]] = field(default_factory=list)
    notifications: list[dict[str, Any]] = field(default_factory=list)

    @property
    def told(self) -> list[str]:
        return [event["data"]["name"] for event in self.events]

    async def until(self, count: int) -> None:
        async def enough() -> bool:
            return len(self.events) + len(self.notifications) >= count

        await eventually(enough)


@asynccontextmanager
async def screen(url: str, **auth: Any) -> AsyncIterator[Screen]:
    client = socketio.AsyncClient(reconnection=False)
    shown = Screen(client)

    async def on_event(event: dict[str, Any]) -> None:
        shown.events.append(event)

    async def on_notification(event: dict[str, Any]) -> None:
        shown.notifications.append(event)

    client.on("event", on_event)
    client.on("notification", on_notification)
    try:
        await client.connect(url, auth=auth, transports=["websocket"], socketio_path="/realtime", wait_timeout=5)
        yield shown
    finally:
        await client.disconnect()
        if client.eio.http is not None:
            await client.eio.http.close()


@pytest.fixture(autouse=True)
async def _ready(gateway_url: str) -> None:
    await ready(gateway_url)


@pytest.fixture
def organization_name() -> str:
    return f"org-{uuid.uuid4().hex[:8]}"


async def emit(producer: AIOKafkaProducer, organization: str, store: str, name: str) -> None:
    await send(producer, PLUGIN_EVENTS.name, "points/earned", organization, store, {"name": name})


async def notify(producer: AIOKafkaProducer, organization: str, user: str) -> None:
    await send(producer, NOTIFICATIONS.name, NOTIFICATION_SENT, organization, "s1", {"userId": user, "title": "Hello"})


async def send(
    producer: AIOKafkaProducer, topic: str, kind: str, organization: str, store: str, data: dict[str, Any]
) -> None:
    event = DomainEvent(
        uuid.uuid4().hex, kind, "urn:test", "2026-11-01T12:00:00Z", organization, store, json.dumps(data).encode()
    )
    key = event.record_key("x").encode()
    await producer.send_and_wait(topic, key=key, value=event.data, headers=event.headers())


async def test_a_screen_hears_its_store_and_what_is_for_all_stores_and_nothing_else(
    gateway_url: str, issuer: Issuer, producer: AIOKafkaProducer, organization_name: str
) -> None:
    def token(store: str | None = None, organization: str = organization_name) -> str:
        return issuer.token("cashier", organization, store=store)

    async with (
        screen(gateway_url, token=token()) as everywhere,
        screen(gateway_url, token=token(), store="s1") as chosen,
        screen(gateway_url, token=token("s1")) as first,
        screen(gateway_url, token=token("s2")) as second,
        screen(gateway_url, token=token("s1", f"{organization_name}x")) as stranger,
    ):
        for store, name in (("s1", "one"), ("s2", "two"), ("*", "all"), ("s3", "three")):
            await emit(producer, organization_name, store, name)
        await emit(producer, f"{organization_name}x", "s1", "strange")
        await emit(producer, organization_name, "*", "last")
        await asyncio.gather(everywhere.until(5), chosen.until(3), first.until(3), second.until(3), stranger.until(1))
        await asyncio.sleep(0.2)
        assert sorted(everywhere.told) == ["all", "last", "one", "three", "two"]
        assert sorted(first.told) == sorted(chosen.told) == ["all", "last", "one"]
        assert sorted(second.told) == ["all", "last", "two"]
        assert stranger.told == ["strange"]
        shown = next(event for event in first.events if event["data"]["name"] == "one")
        assert (shown["type"], shown["store"]) == ("points/earned", "s1")


async def test_a_notification_reaches_its_user_alone(
    gateway_url: str, issuer: Issuer, producer: AIOKafkaProducer, organization_name: str
) -> None:
    def token(subject: str, organization: str = organization_name) -> str:
        return issuer.token("cashier", organization, subject=subject)

    async with (
        screen(gateway_url, token=token("u-1")) as mine,
        screen(gateway_url, token=token("u-2")) as other,
        screen(gateway_url, token=token("u-1", f"{organization_name}x")) as namesake,
    ):
        await notify(producer, organization_name, "u-1")
        await mine.until(1)
        await emit(producer, organization_name, "*", "after")
        await other.until(1)
        assert [each["data"]["title"] for each in mine.notifications] == ["Hello"]
        assert other.notifications == namesake.notifications == []


@pytest.mark.parametrize(
    "auth",
    [
        {},
        {"token": ""},
        {"token": "rubbish"},
        {"token": ["a"]},
        {"expired": True},
        {"role": "publisher"},
        {"store": "s2", "bound": "s1"},
        {"store": "*"},
        {"store": ["s1"]},
    ],
    ids=str,
)
async def test_whoever_has_no_right_to_a_room_is_not_connected(
    gateway_url: str, issuer: Issuer, auth: dict[str, Any], organization_name: str
) -> None:
    if auth and "token" not in auth:
        lifetime = timedelta(seconds=-60) if auth.pop("expired", False) else timedelta(hours=1)
        role, bound = auth.pop("role", "cashier"), auth.pop("bound", None)
        auth["token"] = issuer.token(role, organization_name, store=bound, lifetime=lifetime)
    with pytest.raises(NotConnected):
        async with screen(gateway_url, **auth):
            pass


async def test_a_screen_leaves_when_its_token_ends(gateway_url: str, issuer: Issuer, organization_name: str) -> None:
    token = issuer.token("cashier", organization_name, lifetime=timedelta(seconds=1))
    async with screen(gateway_url, token=token) as shown:

        async def gone() -> bool:
            return not shown.client.connected

        await eventually(gone, within=5)


async def test_screens_of_every_gateway_are_told_once(
    gateway_url: str,
    settings: BuildSettings,
    identity: IdentitySettings,
    issuer: Issuer,
    producer: AIOKafkaProducer,
    organization_name: str,
    gateway_redis_url: str,
) -> None:
    token = issuer.token("cashier", organization_name, store="s1")
    async with serving(build_app(settings(), identity)) as other_url:
        await ready(other_url)
        async with screen(gateway_url, token=token) as here, screen(other_url, token=token) as there:
            await emit(producer, organization_name, "s1", "from kafka")
            await asyncio.gather(here.until(1), there.until(1))
            elsewhere = socketio.AsyncRedisManager(gateway_redis_url, channel=CHANNEL, write_only=True)
            room = rooms_of(organization_name, "s1")[1]

            async def told_through_redis() -> bool:  # a gateway subscribes when its first screen connects
                await elsewhere.emit("event", {"data": {"name": "from elsewhere"}}, room=room)
                return "from elsewhere" in here.told and "from elsewhere" in there.told

            await eventually(told_through_redis)
            await elsewhere.redis.aclose()
            assert here.told.count("from kafka") == there.told.count("from kafka") == 1


async def test_pages_of_other_origins_cannot_connect(gateway_url: str) -> None:
    path = "/realtime/?EIO=4&transport=websocket"
    foreign = {"Origin": "https://evil.example"}
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"{gateway_url}{path}", headers=foreign)).status_code == 400
        answer = await client.get(f"{gateway_url}/realtime/?EIO=4&transport=polling")
    assert answer.status_code == 400
    assert "set-cookie" not in answer.headers


async def ready(url: str) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:

        async def answers() -> bool:
            return (await client.get(f"{url}/health/ready")).status_code == 200

        await eventually(answers)


def test_rooms_of_different_places_never_have_the_same_name() -> None:
    assert not set(rooms_of("a", 'b", "c')) & set(rooms_of('a", "b', "c"))
    assert not set(rooms_of("a/b", "c")) & set(rooms_of("a", "b/c"))
