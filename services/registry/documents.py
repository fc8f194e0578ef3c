"""JSON documents of other people: whether the registry can keep them and pass them on."""

import json
from collections.abc import Iterator
from typing import Any

MAX_DEPTH = 32


class UnfitDocument(ValueError):
    """A document that cannot be kept; the message says why."""


def check_document(document: Any, *, limit: int) -> None:
    """Refuse what JSONB, Kafka and the sandbox's frames cannot carry, or more than ``limit`` bytes of JSON.

    Raises :class:`UnfitDocument`.
    """
    for text in _texts(document, MAX_DEPTH):
        if "\0" in text:
            raise UnfitDocument("contains the character NUL, which cannot be stored")
    try:
        size = len(json.dumps(document, allow_nan=False, ensure_ascii=False).encode())
    except UnicodeEncodeError:
        raise UnfitDocument("contains half a surrogate pair, which is no text") from None
    except ValueError:
        raise UnfitDocument("contains a number that JSON does not have (NaN or infinity)") from None
    if size > limit:
        raise UnfitDocument(f"takes {size} bytes as JSON; at most {limit} are allowed")


def _texts(document: Any, depth: int) -> Iterator[str]:
    if depth == 0:
        raise UnfitDocument(f"is nested more than {MAX_DEPTH} levels deep")
    if isinstance(document, str):
        yield document
    elif isinstance(document, dict):
        yield from document
        for value in document.values():
            yield from _texts(value, depth - 1)
    elif isinstance(document, list | tuple):
        for value in document:
            yield from _texts(value, depth - 1)
