"""Socket.IO at ``/realtime``: what plugins emit and whom they notify, on the screens that are open.

A screen connects with its token and is put into the rooms of its organization, store and user; it never chooses a room,
and nothing that it sends is read. WebSocket only, so no gateway needs to see a client twice in a row.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
import socketio
import structlog
from socketio.exceptions import ConnectionRefusedError as Refused

from services.common.auth import USES, Caller
from services.common.errors import Forbidden, OutletError, Unauthenticated
from services.common.events import ORGANIZATION_WIDE, DomainEvent
from services.common.topics import NOTIFICATION_SENT

log = structlog.get_logger(__name__)

PATH = "/realtime"
CHANNEL = "outlet:realtime"
EVENT = "event"
NOTIFICATION = "notification"
MAX_RECEIVED = 16 * 1024
"""Bytes of one message of a client: its token is the largest."""


class Realtime:
    """The screens that are connected to this gateway."""

    def __init__(self, verify: Callable[[str], Awaitable[Caller]], redis_url: str, origins: Sequence[str] = ()) -> None:
        self._verify = verify
        self._screens: dict[str, tuple[Caller, asyncio.TimerHandle]] = {}
        self._present: Counter[str] = Counter()
        # Events come to every gateway from Kafka. Through Redis any other process can reach a screen, wherever it is.
        self._through_redis = socketio.AsyncRedisManager(redis_url, channel=CHANNEL)
        self._server = socketio.AsyncServer(
            async_mode="asgi",
            client_manager=self._through_redis,
            transports=["websocket"],
            cors_allowed_origins=list(origins) or None,  # None: pages of the gateway's own origin
            cookie=None,
            max_http_buffer_size=MAX_RECEIVED,
        )
        self._server.on("connect", self._connect)
        self._server.on("disconnect", self._disconnect)
        self.app = socketio.ASGIApp(self._server, socketio_path=PATH)

    async def deliver(self, event: DomainEvent) -> None:
        """Show an event to the screens it is for, of those that are connected here. A notification is for one user."""
        if not self._present[event.organization]:
            return
        try:
            data = msgspec.json.decode(event.data)
        except msgspec.DecodeError as error:
            log.warning("an event that is no JSON is not shown", event_id=event.id, error=str(error))
            return
        document = {
            "id": event.id,
            "type": event.type,
            "source": event.source,
            "time": event.time,
            "store": None if event.store == ORGANIZATION_WIDE else event.store,
            "data": data,
        }
        if event.type == NOTIFICATION_SENT:
            rooms = [_room("user", event.organization, str(data.get("userId")))]
            await self._server.emit(NOTIFICATION, document, to=rooms, ignore_queue=True)
        else:
            await self._server.emit(EVENT, document, to=rooms_of(event.organization, event.store), ignore_queue=True)

    async def close(self) -> None:
        """Send every screen away and stop."""
        for screen in list(self._screens):
            await self._server.disconnect(screen, ignore_queue=True)
        await self._server.shutdown()
        listening: asyncio.Task[None] | None = getattr(self._through_redis, "thread", None)
        if listening is not None:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
        if self._through_redis.redis is not None:
            await self._through_redis.pubsub.aclose()
            await self._through_redis.redis.aclose()

    async def _connect(self, screen: str, _: dict[str, Any], auth: Any) -> None:
        try:
            caller, store = await self._admit(auth)
        except OutletError as refusal:
            raise Refused({"code": refusal.problem_code, "detail": refusal.detail}) from None
        for room in _rooms_for(caller, store):
            await self._server.enter_room(screen, room)
        left = (caller.expires_at or 0.0) - time.time()
        timer = asyncio.get_running_loop().call_later(max(left, 0.0), self._expire, screen)
        self._screens[screen] = caller, timer
        self._present[caller.organization] += 1

    async def _admit(self, auth: Any) -> tuple[Caller, str | None]:
        if not isinstance(auth, dict) or not isinstance(auth.get("token"), str):
            raise Unauthenticated("Connect with auth: {token: <token>}.")
        store = auth.get("store")
        if store is not None and not (isinstance(store, str) and store and store != ORGANIZATION_WIDE):
            raise Forbidden("store is the id of a store.", code="wrong_store")
        caller = await self._verify(auth["token"])
        if caller.role not in USES:
            raise Forbidden(f"The role {caller.role.value!r} has no screens.")
        return caller, caller.choose_store(store)

    def _expire(self, screen: str) -> None:
        self._server.start_background_task(self._server.disconnect, screen, ignore_queue=True)

    async def _disconnect(self, screen: str, _: str = "") -> None:
        caller, timer = self._screens.pop(screen, (None, None))
        if caller is not None and timer is not None:
            timer.cancel()
            self._present[caller.organization] -= 1
            if not self._present[caller.organization]:
                del self._present[caller.organization]


def rooms_of(organization: str, store: str) -> list[str]:
    """The rooms that an event of a store (``*``: of the organization) is for. A screen is in one of them at most."""
    here = _room("stores", organization) if store == ORGANIZATION_WIDE else _room("store", organization, store)
    return [_room("organization", organization), here]


def _rooms_for(caller: Caller, store: str | None) -> list[str]:
    """A screen of one store hears that store and what is for all of them; one without a store hears everything."""
    user = _room("user", caller.organization, caller.subject)
    if store is None:
        return [user, _room("organization", caller.organization)]
    return [user, _room("store", caller.organization, store), _room("stores", caller.organization)]


def _room(kind: str, *names: str) -> str:
    """Names may have any characters: JSON keeps them apart."""
    return json.dumps([kind, *names])
