"""One ``api.fetch``: checked, sent, followed through its redirects, within its time."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

import httpx

from outlet._rules.fetching import MAX_BODY, MAX_REDIRECTS, REDIRECTS, hide, redirected
from services.common.directory import Installation
from services.common.tracing import OFF, Tracing, current, headers_of
from services.common.tracing.contexts import PARENT, STATE
from services.common.tracing.http_client import answered, requesting
from services.runtime.outbound.client import Exchange, OutboundClient, ResponseTooLarge, ResponseUnreadable
from services.runtime.outbound.destinations import destination
from services.runtime.outbound.guard import AddressRefused
from services.runtime.outbound.headers import RequestHeaders
from services.runtime.outbound.limits import FetchLimits
from services.runtime.plugin_api.errors import ApiRefusal

MAX_ANSWER_HEADERS = 64 * 1024

# They describe the connection and the transfer, which end at the platform.
_DROPPED = frozenset(
    {"connection", "content-encoding", "content-length", "keep-alive", "trailer", "transfer-encoding", "upgrade"}
)

Items: TypeAlias = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be sent; ``seconds`` for everything, redirects included."""

    method: str
    url: str
    headers: RequestHeaders
    body: bytes
    seconds: float
    follow_redirects: bool = True


@dataclass(frozen=True, slots=True)
class Fetched:
    """The answer; ``url`` is where it came from in the end."""

    status: int
    url: str
    headers: list[tuple[str, str]]
    body: bytes


class Fetcher:
    """Sends what plugins ask for, within their grants and limits.

    ``tell_trace``: receivers are told which trace a request is part of, in place of what the plugin says of it.
    """

    def __init__(
        self, client: OutboundClient, limits: FetchLimits, tracing: Tracing = OFF, *, tell_trace: bool = False
    ) -> None:
        self._client = client
        self._limits = limits
        self._tracing = tracing
        self._tell_trace = tell_trace and tracing.on

    @property
    def plain_http(self) -> bool:
        """Whether URLs may begin with http://, as those of tests do."""
        return self._client.guard.loopback

    async def fetch(self, installation: Installation, request: Request, *, in_transaction: bool) -> Fetched:
        """Send a request on behalf of an installation. Raises ApiRefusal, which names no address and no secret.

        ``in_transaction``: whether a connection to the database is held meanwhile.
        """
        with self._limits.one(installation.id, in_transaction=in_transaction):
            return await self._fetch(installation, request)

    async def _fetch(self, installation: Installation, request: Request) -> Fetched:
        with _refusals(request.seconds):
            async with asyncio.timeout(request.seconds):
                return await self._follow(installation, request)

    async def _follow(self, installation: Installation, request: Request) -> Fetched:
        method, target, items, body = request.method, request.url, request.headers.items, request.body
        for _ in range(MAX_REDIRECTS + 1):
            url = destination(installation, target, plain_http=self._client.guard.loopback)
            exchange = await self._exchange(method, url, items, body)
            location = exchange.header("location")
            if not request.follow_redirects or exchange.status not in REDIRECTS or location is None:
                return _fetched(exchange, url, request.headers.injected)
            method, target, items, body = redirected(exchange.status, location, method, url, items, body)
        raise ApiRefusal("too_many_redirects", f"at most {MAX_REDIRECTS} redirects are followed")

    async def _exchange(self, method: str, url: httpx.URL, items: Items, body: bytes) -> Exchange:
        with requesting(self._tracing, method, url) as span:
            if self._tell_trace:
                items = [item for item in items if item[0] not in (PARENT, STATE)]
                items += headers_of(current()).items()
            exchange = await self._client.send(method, url, items, body, limit=MAX_BODY)
            answered(span, exchange.status)
            return exchange


@contextmanager
def _refusals(seconds: float) -> Iterator[None]:
    """What fails is told to the plugin as ApiRefusal."""
    try:
        yield
    except (TimeoutError, httpx.TimeoutException) as error:
        raise ApiRefusal("fetch_timeout", f"no complete answer within {seconds:.1f} s") from error
    except AddressRefused as error:
        raise ApiRefusal("address_refused", str(error)) from error
    except ResponseTooLarge as error:
        raise ApiRefusal("response_too_large", f"an answer has at most {MAX_BODY} bytes") from error
    except ResponseUnreadable as error:
        raise ApiRefusal("response_unreadable", str(error)) from error
    except (httpx.ConnectError, httpx.RemoteProtocolError) as error:
        raise ApiRefusal("fetch_failed", str(error)[:300] or "no connection") from error
    except httpx.TransportError as error:
        raise ApiRefusal("fetch_failed", "the connection broke") from error


def _fetched(exchange: Exchange, url: httpx.URL, injected: dict[str, str]) -> Fetched:
    headers = [(name, value) for name, value in exchange.headers if name not in _DROPPED]
    if sum(len(name) + len(value) for name, value in headers) > MAX_ANSWER_HEADERS:
        raise ApiRefusal("response_too_large", f"an answer has at most {MAX_ANSWER_HEADERS} bytes of headers")
    shown, headers, body = hide(injected, str(url), headers, exchange.body)
    return Fetched(exchange.status, shown, headers, body)
