"""SQL of publishers' keys."""

from collections.abc import Sequence

from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from outlet.signing import PublicKey
from services.common.auth import Caller
from services.registry.publisher_keys.models import PublisherKey


class PublisherKeyRepository:
    """The keys of organizations, within one transaction."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, caller: Caller, name: str, key: PublicKey) -> bool:
        """Keep a key of the caller's organization; False when it has it already."""
        row = {
            "organization": caller.organization,
            "id": key.id,
            "name": name,
            "public_key": key.document(),
            "registered_by": caller.subject,
        }
        statement = insert(PublisherKey).values(row).on_conflict_do_nothing().returning(col(PublisherKey.id))
        return (await self._session.exec(statement)).one_or_none() is not None

    async def lock(self, organization: str, key_id: str, *, change: bool = False) -> PublisherKey | None:
        """One key of an organization; it is not revoked before the transaction ends, unless here (``change``)."""
        statement = select(PublisherKey).where(
            col(PublisherKey.organization) == organization, col(PublisherKey.id) == key_id
        )
        return (await self._session.exec(statement.with_for_update(read=not change))).one_or_none()

    async def revoke(self, key: PublisherKey, subject: str) -> None:
        """From now on nothing new is signed by it."""
        key.revoked_at = (await self._session.exec(select(func.now()))).one()
        key.revoked_by = subject

    async def of(self, organization: str) -> Sequence[PublisherKey]:
        """All keys of an organization, in the order in which they came."""
        statement = select(PublisherKey).where(col(PublisherKey.organization) == organization)
        ordered = statement.order_by(col(PublisherKey.registered_at), col(PublisherKey.id))
        return (await self._session.exec(ordered)).all()
