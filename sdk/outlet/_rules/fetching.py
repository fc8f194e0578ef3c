"""What ``api.fetch`` sends, and what it follows."""

from collections.abc import Callable

import httpx

from outlet._rules.headers import HARMLESS, RequestHeaders
from outlet._rules.refusal import ApiRefusal

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
SAFE = frozenset({"GET", "HEAD"})
MAX_SECONDS = 10.0
MAX_REDIRECTS = 5
MAX_BODY = 1024 * 1024
SHORTEST_HIDDEN = 8  # anything shorter occurs by chance
REDIRECTS = frozenset({301, 302, 303, 307, 308})

Items = list[tuple[str, str]]


def check_request(method: str, timeout: float | None) -> float:
    """How many seconds a request may take. Raises ApiRefusal ``invalid_arguments``."""
    if method not in METHODS:
        raise ApiRefusal("invalid_arguments", f"the method is one of {', '.join(METHODS)}")
    seconds = MAX_SECONDS if timeout is None else timeout
    if not 0 < seconds <= MAX_SECONDS:  # false for NaN too
        raise ApiRefusal("invalid_arguments", f"the timeout is above 0 and at most {MAX_SECONDS:g} seconds")
    return seconds


def complete(headers: RequestHeaders, method: str, agent: str, idempotency_key: Callable[[], str]) -> None:
    """Add what every request carries, unless the plugin set it."""
    if method not in SAFE and not headers.has("idempotency-key"):
        headers.items.append(("idempotency-key", idempotency_key()))
    if not headers.has("user-agent"):
        headers.items.append(("user-agent", agent))


def redirected(
    status: int, location: str, method: str, url: httpx.URL, items: Items, body: bytes
) -> tuple[str, str, Items, bytes]:
    """The request that a redirect asks for: method, URL, headers and body. Raises ApiRefusal."""
    try:
        following = url.join(location)
    except (httpx.InvalidURL, ValueError) as error:
        raise ApiRefusal("fetch_failed", "the answer redirects to something that is no URL") from error
    if status not in (307, 308) and method not in SAFE:
        # As browsers do (RFC 9110, 15.4): what was posted is not posted again.
        method, body = "GET", b""
        items = [(name, value) for name, value in items if not name.startswith("content-")]
    if (following.scheme, following.host, following.port) != (url.scheme, url.host, url.port):
        items = [(name, value) for name, value in items if name in HARMLESS]
    return method, str(following), items, body


def hide(injected: dict[str, str], url: str, headers: Items, body: bytes) -> tuple[str, Items, bytes]:
    """An answer in which secrets that were sent are placeholders again. What a receiver encodes first it can tell."""
    for name, secret in injected.items():
        if len(secret) >= SHORTEST_HIDDEN:
            placeholder = f"{{{{secret:{name}}}}}"
            url = url.replace(secret, placeholder)
            headers = [(header, value.replace(secret, placeholder)) for header, value in headers]
            body = body.replace(secret.encode(), placeholder.encode())
    return url, headers, body
