"""The hash chain of an audit log: what an entry says, and what proves that it was not changed since.

An entry is canonical JSON: msgspec's, with all members sorted by name, in UTF-8 and without spaces. Its hash is SHA-256
over the hash of the entry before it (32 bytes; zeros before the first one) and those bytes.
"""

import hashlib
from collections.abc import Iterable
from typing import Any

import msgspec

BEGINNING = bytes(32)

MAX_TEXT = 512


class Entry(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """Who did what, to what, from where, when; ``before`` and ``after`` hold the members that changed.

    ``by`` has ``subject``, ``role`` and, for one, ``serviceAccount``; ``origin`` has ``address`` and ``userAgent``.
    ``at`` is RFC 3339 in UTC with microseconds, so that it sorts as text.
    """

    organization_id: str
    sequence: int
    at: str
    action: str
    outcome: str
    by: dict[str, Any]
    origin: dict[str, Any]
    about: dict[str, Any]
    before: dict[str, Any]
    after: dict[str, Any]


class Fault(msgspec.Struct, rename="camel", frozen=True):
    """The first place at which a chain is broken."""

    sequence: int
    reason: str


def encode(entry: Entry) -> str:
    """The canonical JSON of an entry."""
    return msgspec.json.encode(entry, order="sorted").decode()


def decode(document: str) -> Entry:
    """Raises :class:`msgspec.DecodeError`."""
    return msgspec.json.decode(document, type=Entry)


def link(previous: bytes, document: str) -> bytes:
    """The hash of an entry that follows the one with hash ``previous``."""
    return hashlib.sha256(previous + document.encode()).digest()


class Verification:
    """Goes along a chain, entry by entry, and stops at the first fault."""

    def __init__(self, organization: str) -> None:
        self._organization = organization
        self.sequence = 0
        self.hash = BEGINNING
        self.fault: Fault | None = None

    def follow(self, entries: Iterable[tuple[int, str, bytes]]) -> None:
        """Check the next entries: their place, their text as it is kept, the hash that is kept of each."""
        for sequence, document, kept in entries:
            if self.fault is None:
                self.fault = self._check(sequence, document, kept)
            if self.fault is None:
                self.sequence, self.hash = sequence, kept

    def end(self, sequence: int, final: bytes, highest: int) -> None:
        """Compare where the chain ended with where it is known to end; ``highest``: the last entry there is at all."""
        if self.fault is None and self.sequence < sequence:
            self.fault = Fault(self.sequence + 1, "the entry is missing")
        elif self.fault is None and (self.sequence, self.hash) != (sequence, final):
            self.fault = Fault(self.sequence, "the chain does not end with the hash that it is known to end with")
        elif self.fault is None and highest > sequence:
            self.fault = Fault(sequence + 1, "the entry was added past the end of the chain")

    def _check(self, sequence: int, document: str, kept: bytes) -> Fault | None:
        if sequence != self.sequence + 1:
            return Fault(self.sequence + 1, "the entry is missing")
        if link(self.hash, document) != kept:
            return Fault(sequence, "the entry, or its hash, was changed, or stood elsewhere in the chain")
        try:
            entry = decode(document)
        except msgspec.DecodeError:
            return Fault(sequence, "the entry cannot be read")
        if (entry.organization_id, entry.sequence) != (self._organization, sequence):
            return Fault(sequence, "the entry belongs elsewhere")
        return None


def shown_text(text: str) -> str:
    """Text from outside as it may be kept: printable, encodable, not endless."""
    printable = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
    return printable[:MAX_TEXT]
