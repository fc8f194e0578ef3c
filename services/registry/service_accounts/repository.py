"""SQL of service accounts."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import func, or_, tuple_, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from services.common.auth import Right
from services.registry.service_accounts.models import ServiceAccount

USE_RESOLUTION = timedelta(minutes=1)


class ServiceAccountRepository:
    """Service accounts within one transaction."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def now(self) -> datetime:
        moment: datetime = (await self._session.exec(select(func.now()))).one()
        return moment

    async def add(self, account: ServiceAccount) -> None:
        self._session.add(account)
        await self._session.flush()

    async def count_usable(self, organization: str) -> int:
        """How many are neither revoked nor expired."""
        statement = select(func.count()).where(
            col(ServiceAccount.organization_id) == organization,
            col(ServiceAccount.revoked_at).is_(None),
            col(ServiceAccount.expires_at) > func.now(),
        )
        return (await self._session.exec(statement)).one()

    async def get(self, account_id: UUID) -> ServiceAccount | None:
        return await self._session.get(ServiceAccount, account_id)

    async def lock(self, account_id: UUID) -> ServiceAccount | None:
        """Like :meth:`get`; nobody else changes it until the transaction ends."""
        statement = select(ServiceAccount).where(col(ServiceAccount.id) == account_id).with_for_update()
        return (await self._session.exec(statement)).one_or_none()

    async def by_hash(self, key_hash: bytes) -> ServiceAccount | None:
        statement = select(ServiceAccount).where(col(ServiceAccount.key_hash) == key_hash)
        return (await self._session.exec(statement)).one_or_none()

    async def used(self, account_id: UUID) -> None:
        """Note that it was used, once a minute at most."""
        now = func.now()
        due = or_(col(ServiceAccount.last_used_at).is_(None), col(ServiceAccount.last_used_at) < now - USE_RESOLUTION)
        statement = update(ServiceAccount).where(col(ServiceAccount.id) == account_id, due)
        await self._session.exec(statement.values(last_used_at=now))

    async def find(
        self,
        organization: str,
        store: str | None,
        right: Right | None,
        after: tuple[datetime, UUID] | None,
        limit: int,
    ) -> Sequence[ServiceAccount]:
        """In the order in which they were made; those of a ``store``, and with just one ``right``, if asked for."""
        statement = select(ServiceAccount).where(col(ServiceAccount.organization_id) == organization)
        if store is not None:
            statement = statement.where(col(ServiceAccount.store_id) == store)
        if right is not None:
            statement = statement.where(col(ServiceAccount.rights) == [right.value])
        position = (col(ServiceAccount.created_at), col(ServiceAccount.id))
        if after is not None:
            statement = statement.where(tuple_(*position) > tuple_(*after))
        return (await self._session.exec(statement.order_by(*position).limit(limit))).all()
