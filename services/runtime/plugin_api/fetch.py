"""Requests to the outside: ``fetch.send`` and, for answers above one frame, ``fetch.rest``."""

import json
import time
import uuid
from typing import Any

import structlog

from outlet._rules.fetching import SAFE, check_request, complete
from services.common.secret_settings import SecretPlace, SecretUnreadable
from services.runtime.outbound.fetching import Request
from services.runtime.outbound.headers import request_headers
from services.runtime.plugin_api.errors import ApiRefusal
from services.runtime.plugin_api.groups import Arguments, Context, Group, method

SPARED_SECONDS = 0.25
"""Left of a call's own deadline, so that the plugin sees the time-out rather than being ended by it."""
PART = 128 * 1024
MAX_UNREAD = 4 * 1024 * 1024

IDEMPOTENCY = uuid.UUID("2b1df2f3-55f0-5a60-9f0e-6d5f3a2f7c41")  # namespace of the keys of unsafe requests

log = structlog.get_logger(__name__)


class Send(Arguments):
    url: str
    method: str = "GET"
    headers: dict[str, str] = {}
    body: bytes = b""
    timeout: float | None = None
    follow_redirects: bool = True


class Rest(Arguments):
    id: int


class Fetch(Group):
    """One attempt's requests. What is sent is not undone when the attempt fails: a repetition sends it again.

    So a request that may change something carries an ``Idempotency-Key`` that is the same in every attempt.
    """

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._fetcher = context.resources.fetcher
        self._began = time.monotonic()
        self._unsafe = 0
        self._answers = 0
        self._unread: dict[int, bytes] = {}

    @method("fetch.send", Send)
    async def send(self, call: Send) -> dict[str, Any]:
        request = self._request(call)
        if call.method not in SAFE:
            await self.work.before_effect_outside()
        fetched = await self._fetcher.fetch(self.installation, request, in_transaction=self.work.opened)
        number = self._answers = self._answers + 1
        if len(fetched.body) > PART:
            self._unread[number] = fetched.body[PART:]
        return {
            "id": number,
            "status": fetched.status,
            "url": fetched.url,
            "headers": fetched.headers,
            "body": fetched.body[:PART],
            "more": number in self._unread,
        }

    @method("fetch.rest", Rest)
    async def rest(self, call: Rest) -> dict[str, Any]:
        unread = self._unread.pop(call.id, b"")
        if len(unread) > PART:
            self._unread[call.id] = unread[PART:]
        return {"body": unread[:PART], "more": call.id in self._unread}

    def _request(self, call: Send) -> Request:
        asked = check_request(call.method, call.timeout)
        if sum(map(len, self._unread.values())) > MAX_UNREAD:
            raise ApiRefusal("fetch_busy", "read the answers that have come before you ask for more")
        seconds = self._seconds(asked)
        headers = request_headers(call.headers, self._secret)
        agent = f"outlet-plugin/{self.installation.plugin_id}/{self.installation.version}"
        complete(headers, call.method, agent, self._idempotency_key)
        if call.method not in SAFE:
            self._unsafe += 1
        return Request(call.method, call.url, headers, call.body, seconds, call.follow_redirects)

    def _seconds(self, asked: float) -> float:
        left = self.invocation.time_limit - (time.monotonic() - self._began) - SPARED_SECONDS
        if left <= 0:
            raise ApiRefusal("fetch_timeout", "no time is left in this call")
        return min(asked, left)

    def _secret(self, name: str) -> str | None:
        """Opened for this request only. A registry of an earlier version published secrets as they are."""
        found = self.installation
        stored = found.config.get(name) if name in found.manifest.secret_settings() else None
        if stored is None or isinstance(stored, str):
            return stored
        place = SecretPlace(found.organization_id, found.plugin_id, found.id, name)
        try:
            return self.context.resources.keys.open(stored, place)
        except SecretUnreadable as error:
            log.error("a secret cannot be read", installation=found.id, setting=name, reason=str(error))
            refusal = f"the secret {name!r} cannot be read: {error}. Have it set again in the plugin's configuration"
            raise ApiRefusal("unreadable_secret", refusal) from error

    def _idempotency_key(self) -> str:
        return str(uuid.uuid5(IDEMPOTENCY, json.dumps([*self.invocation.key.row(), self._unsafe])))
