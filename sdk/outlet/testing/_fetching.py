"""Requests to the outside in memory: answered by what a test gives, for hosts that are declared and granted."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import msgspec

from outlet._rules.destinations import destination
from outlet._rules.fetching import (
    MAX_BODY,
    MAX_REDIRECTS,
    REDIRECTS,
    SAFE,
    Items,
    check_request,
    complete,
    hide,
    redirected,
)
from outlet._rules.headers import RequestHeaders, request_headers
from outlet._rules.refusal import ApiRefusal
from outlet.testing._groups import Arguments, Group, method
from outlet.testing._observed import Fetched

PART = 128 * 1024


class NoAnswer(AssertionError):
    """The plugin fetched something that the test gives no answer to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a stand-in for a service outside answers. ``json`` is sent as JSON, else ``body`` as it is."""

    status: int = 200
    json: Any = None
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    def content(self) -> bytes:
        """The body as it is sent."""
        return self.body if self.json is None else msgspec.json.encode(self.json)


Service: TypeAlias = Callable[[Fetched], Reply | Exception]
"""Answers a request; an exception stands for a failure: TimeoutError, or any other for a broken connection."""


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
    """One attempt's requests. What is sent is not undone when the attempt fails."""

    _unsafe = 0

    @method("fetch.send", Send)
    async def send(self, call: Send) -> dict[str, Any]:
        check_request(call.method, call.timeout)
        headers = request_headers(call.headers, self._secret)
        manifest = self.plugin.manifest
        complete(headers, call.method, f"outlet-plugin/{manifest.plugin_id}/{manifest.version}", self._idempotency_key)
        if call.method not in SAFE:
            self._unsafe += 1
            self.work.claim()
        reply, url = self._follow(call, headers)
        body = reply.content()
        if len(body) > MAX_BODY:
            raise ApiRefusal("response_too_large", f"an answer has at most {MAX_BODY} bytes")
        answered = [(name.lower(), value) for name, value in reply.headers.items()]
        url, answered, body = hide(headers.injected, url, answered, body)
        number = len(self.invocation.unread) + 1
        self.invocation.unread[number] = body[PART:]
        first = {"id": number, "status": reply.status, "url": url, "headers": answered, "body": body[:PART]}
        return {**first, "more": len(body) > PART}

    @method("fetch.rest", Rest)
    async def rest(self, call: Rest) -> dict[str, Any]:
        unread = self.invocation.unread.get(call.id, b"")
        self.invocation.unread[call.id] = unread[PART:]
        return {"body": unread[:PART], "more": len(unread) > PART}

    def _follow(self, call: Send, headers: RequestHeaders) -> tuple[Reply, str]:
        verb, target, items, body = call.method, call.url, headers.items, call.body
        for _ in range(MAX_REDIRECTS + 1):
            url = destination(self.plugin.manifest, self.plugin.grants, target)
            reply = self._exchange(verb, str(url), items, body)
            location = {name.lower(): value for name, value in reply.headers.items()}.get("location")
            if not call.follow_redirects or reply.status not in REDIRECTS or location is None:
                return reply, str(url)
            verb, target, items, body = redirected(reply.status, location, verb, url, items, body)
        raise ApiRefusal("too_many_redirects", f"at most {MAX_REDIRECTS} redirects are followed")

    def _exchange(self, verb: str, url: str, items: Items, body: bytes) -> Reply:
        request = Fetched(verb, url, dict(items), body)
        self.plugin.observed.fetched.append(request)
        reply = self.platform.answer(request)
        if isinstance(reply, TimeoutError):
            raise ApiRefusal("fetch_timeout", "no complete answer within 10.0 s")
        if isinstance(reply, Exception):
            raise ApiRefusal("fetch_failed", str(reply)[:300] or "the connection broke")
        return reply

    def _secret(self, name: str) -> str | None:
        return self.plugin.secrets.get(name) if name in self.plugin.manifest.secret_settings() else None

    def _idempotency_key(self) -> str:
        return self.platform.repeatable_id("idempotency", *self.invocation.key, str(self._unsafe))
