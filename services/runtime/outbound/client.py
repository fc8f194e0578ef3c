"""One HTTP exchange with the outside: no proxy, no cookies, no redirects, no connection kept, bounded answers."""

import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from types import TracebackType
from typing import Protocol

import httpcore
import httpx

from services.runtime.outbound.guard import Guard, GuardedNetwork, Resolver

MAX_CONNECTIONS = 200
READ_SECONDS = 10.0
GZIP_OR_ZLIB = 47  # zlib's window bits that recognise both


class ResponseTooLarge(Exception):
    """The body has more than the allowed bytes, as it came or decompressed."""


class ResponseUnreadable(Exception):
    """The body is compressed in a way that was not asked for, or is not what it says it is."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """What came back. Names of ``headers`` are in lower case; ``body`` is decompressed."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """The first value of a header."""
        return next((value for found, value in self.headers if found == name), None)


class OutboundClient:
    """Sends requests to addresses that ``guard`` allows. Close it with ``async with``.

    ``authorities``: a PEM file of certificates that servers' own may be signed with, beside the public ones.
    """

    def __init__(self, guard: Guard, resolve: Resolver, *, authorities: Path | None = None) -> None:
        self.guard = guard
        self._client = httpx.AsyncClient(
            transport=_Transport(GuardedNetwork(guard, resolve), authorities),
            trust_env=False,
            follow_redirects=False,
            timeout=httpx.Timeout(READ_SECONDS),
            # What one plugin's receiver sets must not travel with another plugin's request.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        )
        self._client.headers.clear()

    async def __aenter__(self) -> "OutboundClient":
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.__aexit__(kind, error, trace)

    async def send(
        self, method: str, url: httpx.URL, headers: list[tuple[str, str]], body: bytes, *, limit: int, cut: bool = False
    ) -> Exchange:
        """Do one exchange. With ``cut``, a body above ``limit`` bytes is cut off there, else it is refused.

        Raises AddressRefused, ResponseTooLarge, ResponseUnreadable or httpx.TransportError.
        """
        request = self._client.build_request(
            method, url, headers=[*headers, ("accept-encoding", "gzip")], content=body or None
        )
        response = await self._client.send(request, stream=True)
        try:
            received = [(name.lower(), value) for name, value in response.headers.multi_items()]
            if method == "HEAD":
                return Exchange(response.status_code, received, b"")
            content = await _read(response, limit, cut=cut)
        finally:
            await response.aclose()
        return Exchange(response.status_code, received, content)


async def _read(response: httpx.Response, limit: int, *, cut: bool) -> bytes:
    decoder = _decoder(response.headers.get("content-encoding", "identity").strip().lower())
    body, received = bytearray(), 0
    async for chunk in response.aiter_raw():
        received += len(chunk)
        # One byte above the limit tells "full" from "too much", and a bomb never unpacks further than that.
        body += decoder.decompress(chunk, limit + 1 - len(body))
        if len(body) > limit or received > limit:
            if cut:
                return bytes(body[:limit])
            raise ResponseTooLarge
    if received and not decoder.eof:
        raise ResponseUnreadable("the compressed body ends in the middle")
    return bytes(body)


class _Decoder(Protocol):
    @property
    def eof(self) -> bool: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class _Plain:
    eof = True

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        return data[:max_length]


class _Compressed:
    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(GZIP_OR_ZLIB)

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        try:
            return self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)
        except zlib.error as error:
            raise ResponseUnreadable("the body is not the gzip that it says it is") from error


def _decoder(encoding: str) -> _Decoder:
    if encoding in ("", "identity"):
        return _Plain()
    if encoding in ("gzip", "x-gzip", "deflate"):
        return _Compressed()
    raise ResponseUnreadable(f"the body is encoded as {encoding!r:.40}, which was not asked for")


class _Transport(httpx.AsyncBaseTransport):
    """httpx over httpcore's pool, for the sake of its network. Keeps no connection for a next request.

    So a name is looked up and checked for each request, and no two plugins ever share a connection.
    """

    def __init__(self, network: GuardedNetwork, authorities: Path | None) -> None:
        trusted = httpx.create_ssl_context(trust_env=False)
        if authorities is not None:
            trusted.load_verify_locations(authorities)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=trusted,
            max_connections=MAX_CONNECTIONS,
            max_keepalive_connections=0,
            network_backend=network,
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        assert isinstance(request.stream, httpx.AsyncByteStream)  # noqa: S101  what the async client builds
        with _httpx_errors():
            response = await self._pool.handle_async_request(
                httpcore.Request(
                    method=request.method,
                    url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        return httpx.Response(response.status, headers=response.headers, stream=_Stream(response))

    async def aclose(self) -> None:
        await self._pool.aclose()


class _Stream(httpx.AsyncByteStream):
    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _httpx_errors():
            async for part in self._response.aiter_stream():
                yield part

    async def aclose(self) -> None:
        await self._response.aclose()


@contextmanager
def _httpx_errors() -> Iterator[None]:
    """httpcore's failures as httpx's."""
    try:
        yield
    except httpcore.TimeoutException as error:
        raise httpx.ReadTimeout("no answer in time") from error
    except httpcore.ConnectError as error:
        raise httpx.ConnectError(str(error)) from error
    except httpcore.RemoteProtocolError as error:
        raise httpx.RemoteProtocolError(str(error)) from error
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.UnsupportedProtocol) as error:
        raise httpx.NetworkError("the connection failed") from error
