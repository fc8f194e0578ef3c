"""What a document's check against a schema finds."""

from typing import NamedTuple


class Violation(NamedTuple):
    """Where a document breaks its schema (a JSON path, ``$`` is the whole) and how."""

    path: str
    message: str
