"""Reading a request's body whole, within a limit."""

from fastapi import Request
from starlette.requests import ClientDisconnect

from services.common.errors import BadRequest, TooLarge
from services.common.http import MEBIBYTE

BODY_LIMIT = MEBIBYTE


async def read_body(request: Request, limit: int = BODY_LIMIT) -> bytes:
    """The body, of at most ``limit`` bytes, whether its length was announced or not. Raises TooLarge."""
    announced = request.headers.get("Content-Length", "0")
    if announced.isdecimal() and int(announced) > limit:
        raise _too_large(limit)
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                raise _too_large(limit)
    except ClientDisconnect as error:
        raise client_went_away() from error
    return bytes(body)


def client_went_away() -> BadRequest:
    """What to raise, for the log's sake, when a client closes its connection before its body ended."""
    return BadRequest("The connection was closed before the body ended.", code="incomplete_body")


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"The body is larger than {limit} bytes.")
