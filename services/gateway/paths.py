"""The one reading of a request's path that is passed on.

A path is judged as it was sent and forwarded byte for byte, so that whoever is behind the gateway decodes the same
segments that were judged here (RFC 3986, sections 2.4 and 6.2.2.3).
"""

from urllib.parse import unquote

from fastapi import Request

from services.common.errors import BadRequest

_AMBIGUOUS = frozenset({"", ".", ".."})


def checked_path(request: Request) -> str:
    """The path as sent, still percent-encoded.

    Raises BadRequest (``invalid_path``) when a segment is empty or a dot segment, or hides a slash, a backslash or a
    control character.
    """
    raw: str = request.scope["raw_path"].decode("ascii")
    for segment in raw.removeprefix("/").split("/"):
        _check(segment)
    return raw


def _check(segment: str) -> None:
    try:
        decoded = unquote(segment, errors="strict")
    except UnicodeDecodeError:
        raise BadRequest("A segment of the path is not UTF-8.", code="invalid_path") from None
    if decoded in _AMBIGUOUS or any(character in "/\\" or not character.isprintable() for character in decoded):
        raise BadRequest(f"The path has a segment that cannot be passed on: {decoded!r}.", code="invalid_path")
