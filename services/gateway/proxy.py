"""Passing requests on to the registry and to ui_components, which verify the token again themselves."""

from collections.abc import AsyncIterator, Iterable
from typing import Annotated

import httpx
import structlog
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response, StreamingResponse
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from services.common.auth import Caller, Role, require
from services.common.errors import GatewayTimeout, Unavailable
from services.common.telemetry import REQUEST_ID_HEADER, current_request_id
from services.common.tracing import OFF, Tracing, current, headers_of
from services.common.tracing.http_client import answered, requesting
from services.gateway.bodies import client_went_away
from services.gateway.paths import checked_path

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
KEEP_ALIVE_SECONDS = 2.0  # less than the upstreams' own 5 s, so that no request meets a connection that is closing

TO_UPSTREAM = frozenset(
    {
        "accept",
        "accept-encoding",
        "accept-language",
        "authorization",
        "content-length",
        "content-type",
        "idempotency-key",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "x-outlet-signature",
    }
)
TO_CLIENT = frozenset(
    {
        "allow",
        "cache-control",
        "content-disposition",
        "content-encoding",
        "content-length",
        "content-type",
        "etag",
        "last-modified",
        "location",
        "retry-after",
        "vary",
        "www-authenticate",
    }
)

log = structlog.get_logger(__name__)
registry = APIRouter()
ui_components = APIRouter()


class Upstream:
    """One service behind the gateway. ``name`` is what problem details call it."""

    def __init__(self, name: str, client: httpx.AsyncClient, tracing: Tracing = OFF) -> None:
        self.name = name
        self._client = client
        self._tracing = tracing

    async def forward(self, request: Request) -> Response:
        """The upstream's answer, streamed. Raises BadRequest, Unavailable or GatewayTimeout."""
        with requesting(self._tracing, request.method, self._client.base_url) as span:
            answer = await self._send(request)
            answered(span, answer.status_code)
        return _Relayed(answer)

    async def _send(self, request: Request) -> httpx.Response:
        headers = [*_allowed(request.headers.items(), TO_UPSTREAM), (REQUEST_ID_HEADER, current_request_id())]
        onward = self._client.build_request(
            request.method,
            self._client.base_url.copy_with(raw_path=_target(request)),
            headers=headers + list(headers_of(current()).items()),
            content=request.stream() if _has_body(request) else None,
        )
        try:
            return await self._client.send(onward, stream=True)
        except ClientDisconnect as error:
            raise client_went_away() from error
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise Unavailable(f"The {self.name} cannot be reached.", code="upstream_unavailable") from error
        except httpx.TimeoutException as error:
            raise GatewayTimeout(f"The {self.name} did not answer in time.", code="upstream_timeout") from error
        except httpx.TransportError as error:
            log.warning("upstream broke off", upstream=self.name, error=repr(error))
            raise Unavailable(
                f"The {self.name} broke off.",
                code="upstream_unavailable",
                remedy="Look whether the work was done before trying again.",
            ) from error


class _Relayed(StreamingResponse):
    """An upstream's answer on its way to the client, closed whatever becomes of the client."""

    def __init__(self, answer: httpx.Response) -> None:
        super().__init__(_raw(answer), answer.status_code)
        allowed = _allowed(answer.headers.multi_items(), TO_CLIENT)
        self.raw_headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in allowed]
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._answer.aclose()


async def _raw(answer: httpx.Response) -> AsyncIterator[bytes]:
    async for chunk in answer.aiter_raw():
        yield chunk


def open_client(base_url: str, *, answer_within: float) -> httpx.AsyncClient:
    """A client for one upstream that waits ``answer_within`` seconds for an answer, and follows no proxy settings."""
    return httpx.AsyncClient(
        base_url=base_url,
        headers={"Accept-Encoding": "identity"},
        timeout=httpx.Timeout(answer_within, connect=3.0, pool=3.0),
        limits=httpx.Limits(max_connections=256, keepalive_expiry=KEEP_ALIVE_SECONDS),
        trust_env=False,
    )


def _target(request: Request) -> bytes:
    query: bytes = request.scope["query_string"]
    path = checked_path(request).encode()
    return path + b"?" + query if query else path


def _has_body(request: Request) -> bool:
    return "Transfer-Encoding" in request.headers or request.headers.get("Content-Length", "0") != "0"


def _allowed(headers: Iterable[tuple[str, str]], names: frozenset[str]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in headers if name.lower() in names]


Authenticated = Annotated[Caller, Depends(require(frozenset(Role)))]


@ui_components.api_route("/api/plugins/ui-components/{injection_point:path}", methods=METHODS, include_in_schema=False)
async def to_ui_components(request: Request, _: Authenticated) -> Response:
    upstream: Upstream = request.app.state.ui_components
    return await upstream.forward(request)


@registry.api_route("/api/plugins", methods=METHODS, include_in_schema=False)
@registry.api_route("/api/plugins/{rest:path}", methods=METHODS, include_in_schema=False)
async def to_registry(request: Request, _: Authenticated) -> Response:
    upstream: Upstream = request.app.state.registry
    return await upstream.forward(request)
