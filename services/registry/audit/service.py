"""Reading the audit log, carrying it out of the platform, and proving that it is whole."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from services.common.auth import Caller
from services.common.errors import Forbidden
from services.common.wire import Page, decode_cursor, encode_cursor, invalid_cursor
from services.registry.audit.chain import BEGINNING, Verification
from services.registry.audit.repository import AuditFilter, AuditRepository, Link
from services.registry.audit.schemas import AuditEntryDocument, VerificationDocument
from services.registry.database import Transaction

BATCH = 500


class AuditService:
    """The audit log of the caller's organization."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def find(
        self, caller: Caller, wanted: AuditFilter, limit: int, cursor: str | None
    ) -> Page[AuditEntryDocument]:
        """One page, newest first. Raises Forbidden for a token that is bound to a store."""
        _check_whole(caller)
        if cursor is not None:
            wanted = replace(wanted, before=_position(cursor))
        async with self._transaction() as session:
            rows = await AuditRepository(session).find(wanted, limit + 1)
        items = [AuditEntryDocument.of(row) for row in rows[:limit]]
        return Page(items=items, next_cursor=encode_cursor(str(items[-1].sequence)) if len(rows) > limit else None)

    async def verify(self, caller: Caller) -> VerificationDocument:
        """Recompute the chain, from its beginning to what is its end now."""
        _check_whole(caller)
        last, final, highest = await self._head(caller.organization)
        verification = Verification(caller.organization)
        async for batch in self._batches(caller.organization, last):
            verification.follow(batch)
            if verification.fault is not None:
                break
        verification.end(last, final, highest)
        fault = verification.fault
        return VerificationDocument(
            valid=fault is None,
            entries=verification.sequence,
            head=verification.hash.hex(),
            broken=None if fault is None else {"sequence": fault.sequence, "reason": fault.reason},
        )

    async def export(self, caller: Caller) -> AsyncIterator[bytes]:
        """The whole chain as JSON Lines, oldest first: ``{"entry", "previousHash", "hash"}``.

        ``entry`` is the very text that was hashed. The last line, ``{"end", "entries", "hash"}``, tells that nothing
        was cut off.
        """
        _check_whole(caller)
        last, final, _ = await self._head(caller.organization)
        return self._lines(caller.organization, last, final)

    async def _lines(self, organization: str, last: int, final: bytes) -> AsyncIterator[bytes]:
        previous = BEGINNING
        async for batch in self._batches(organization, last):
            lines = []
            for _, document, kept in batch:
                lines.append(f'{{"entry":{document},"previousHash":"{previous.hex()}","hash":"{kept.hex()}"}}\n')
                previous = kept
            yield "".join(lines).encode()
        yield f'{{"end":true,"entries":{last},"hash":"{final.hex()}"}}\n'.encode()

    async def _batches(self, organization: str, last: int) -> AsyncIterator[Sequence[Link]]:
        """The chain in parts, each read in a transaction of its own: nothing is held open for a slow reader."""
        sequence = 0
        while sequence < last:
            async with self._transaction() as session:
                batch = await AuditRepository(session).after(organization, sequence, last, BATCH)
            if not batch:
                return
            yield batch
            sequence = batch[-1][0]

    async def _head(self, organization: str) -> tuple[int, bytes, int]:
        async with self._transaction() as session:
            return await AuditRepository(session).head(organization)


def _check_whole(caller: Caller) -> None:
    if caller.store is not None:
        raise Forbidden(
            f"This token is bound to store {caller.store!r}; the audit log is the whole organization's.",
            code="wrong_store",
        )


def _position(cursor: str) -> int:
    (text,) = decode_cursor(cursor, 1)
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise invalid_cursor()
    return int(text)
