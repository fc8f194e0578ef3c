"""What all documents of the API share: camelCase members, pages and their cursors, and how problems are documented."""

import base64
import binascii
import json
from http import HTTPStatus
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Security
from fastapi.security import HTTPBearer
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from services.common.errors import MEDIA_TYPE, BadRequest

MAX_PAGE = 200

Item = TypeVar("Item")

BEARER = Security(HTTPBearer(auto_error=False, bearerFormat="JWT"))
"""Documents that a router takes a token; ``services.common.auth.require`` is what verifies it."""

Line = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""One line of text from a client, without control characters (PostgreSQL takes no NUL)."""


class Document(BaseModel):
    """A JSON document in camelCase."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, from_attributes=True)


class Page(Document, Generic[Item]):
    """Some items of a list; ``nextCursor`` asks for the following ones and is null on the last page."""

    items: list[Item]
    next_cursor: str | None = None


class Problem(Document):
    """Problem details (RFC 9457). Some problems have further members."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, extra="allow")

    type: str
    title: str
    status: int
    code: str = Field(description="A stable name for programs.")
    detail: str
    remedy: str = Field(description="What the caller can do.")
    instance: str


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For ``responses=`` of a route: these statuses answer problem details."""
    content = {MEDIA_TYPE: {"schema": Problem.model_json_schema()}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


def encode_cursor(*parts: str) -> str:
    """A cursor that remembers where a page ended; opaque to clients."""
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


def decode_cursor(cursor: str, parts: int) -> list[str]:
    """The parts of a cursor of ours. Raises BadRequest (``invalid_cursor``) for anything else."""
    try:
        found = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or len(found) != parts or not all(_is_line(part) for part in found):
        raise invalid_cursor()
    return found


def invalid_cursor() -> BadRequest:
    return BadRequest(
        "The cursor is none that this list gave out.", code="invalid_cursor", remedy="Start again without a cursor."
    )


def _is_line(part: object) -> bool:
    return isinstance(part, str) and part.isprintable()
