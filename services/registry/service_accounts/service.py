"""Service accounts: who makes them, and how their keys become callers."""

from datetime import datetime, timedelta
from uuid import UUID, uuid4

from services.common.auth import MANAGES, SERVICE_ACCOUNT_KEY, SERVICE_SUBJECT, Caller, Right, Role, TokenVerifier
from services.common.errors import Conflict, Forbidden, NotFound, Unauthenticated, Unprocessable
from services.common.wire import Page, decode_cursor, encode_cursor, invalid_cursor
from services.registry.audit.trail import record
from services.registry.database import Transaction
from services.registry.service_accounts.keys import hash_of, new_key
from services.registry.service_accounts.models import ServiceAccount
from services.registry.service_accounts.repository import ServiceAccountRepository
from services.registry.service_accounts.schemas import (
    NewServiceAccount,
    ServiceAccountDocument,
    ServiceAccountRequest,
)

LONGEST = timedelta(days=366)
MOST = 200
"""Usable accounts of one organization."""


class ServiceAccountService:
    """The service accounts of organizations. Methods raise OutletErrors."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def create(self, caller: Caller, wanted: ServiceAccountRequest) -> NewServiceAccount:
        """Make an account; nobody can give it a right that is not theirs to give."""
        beyond = wanted.rights - _may_give(caller)
        if beyond:
            raise Forbidden(
                f"The role {caller.role.value!r} cannot give {', '.join(sorted(beyond))} to a service account.",
                code="right_not_yours",
                remedy="Owners and admins give install and read; publishers give publish.",
            )
        store = caller.choose_store(wanted.store_id)
        key = new_key()
        async with self._transaction() as session:
            accounts = ServiceAccountRepository(session)
            now = await accounts.now()
            if not now < wanted.expires_at <= now + LONGEST:
                message = f"must lie ahead, and within {LONGEST.days} days"
                errors = [{"path": "expiresAt", "message": message}]
                raise Unprocessable(f"expiresAt {message}.", code="invalid_expiry", errors=errors)
            if await accounts.count_usable(caller.organization) >= MOST:
                raise Conflict(
                    f"The organization has {MOST} service accounts.",
                    code="too_many_service_accounts",
                    remedy="Revoke those that are not needed.",
                )
            account = ServiceAccount(
                id=uuid4(),
                organization_id=caller.organization,
                store_id=store,
                name=wanted.name,
                rights=sorted(right.value for right in wanted.rights),
                key_hash=hash_of(key),
                created_at=now,
                created_by=caller.subject,
                expires_at=wanted.expires_at,
            )
            await accounts.add(account)
            after = {"rights": account.rights, "expiresAt": account.expires_at.isoformat()}
            await record(session, caller.organization, caller, "service-account.create", _named(account), after=after)
        return NewServiceAccount.of(account, key)

    async def find(self, caller: Caller, limit: int, cursor: str | None) -> Page[ServiceAccountDocument]:
        """One page, oldest first: publishers see those that only publish, a store's token those of its store."""
        after = None if cursor is None else _position(cursor)
        right = Right.PUBLISH if caller.role is Role.PUBLISHER else None
        async with self._transaction() as session:
            rows = await ServiceAccountRepository(session).find(
                caller.organization, caller.store, right, after, limit + 1
            )
        items = [ServiceAccountDocument.model_validate(row) for row in rows[:limit]]
        more = len(rows) > limit
        return Page(
            items=items,
            next_cursor=encode_cursor(items[-1].created_at.isoformat(), str(items[-1].id)) if more else None,
        )

    async def revoke(self, caller: Caller, account_id: UUID) -> None:
        """End an account for good. Raises NotFound when it is none that the caller manages."""
        async with self._transaction() as session:
            accounts = ServiceAccountRepository(session)
            account = await accounts.lock(account_id)
            if account is None or not _manages(caller, account):
                raise NotFound("There is no such service account.", code="service_account_not_found")
            if account.revoked_at is not None:
                return
            account.revoked_at = await accounts.now()
            await record(session, caller.organization, caller, "service-account.revoke", _named(account))

    async def authenticate(self, key: str) -> Caller:
        """Whom a key speaks for. Raises Unauthenticated."""
        async with self._transaction() as session:
            accounts = ServiceAccountRepository(session)
            caller = _caller(await accounts.by_hash(hash_of(key)), await accounts.now())
            await accounts.used(_account_id(caller))
        return caller

    async def confirm(self, caller: Caller) -> Caller:
        """Whom a token that was given to an account speaks for now. Raises Unauthenticated."""
        account_id = _account_id(caller)
        async with self._transaction() as session:
            accounts = ServiceAccountRepository(session)
            present = _caller(await accounts.get(account_id), await accounts.now())
            await accounts.used(account_id)
        if (present.organization, present.store) != (caller.organization, caller.store):
            raise _refused("The token is of another organization or store than its service account.")
        return caller


class RegistryVerifier:
    """Verifies tokens as every service does, and beyond that keys of service accounts, and whether these still hold."""

    def __init__(self, tokens: TokenVerifier, accounts: ServiceAccountService) -> None:
        self._tokens = tokens
        self._accounts = accounts

    async def verify(self, token: str) -> Caller:
        """Raises Unauthenticated, or Unavailable when it cannot be told."""
        if token.startswith(SERVICE_ACCOUNT_KEY):
            return await self._accounts.authenticate(token)
        caller = await self._tokens.verify(token)
        return caller if caller.service_account is None else await self._accounts.confirm(caller)


def _account_id(caller: Caller) -> UUID:
    return UUID(caller.service_account or "")


def _may_give(caller: Caller) -> frozenset[Right]:
    if caller.role in MANAGES:
        return frozenset({Right.INSTALL, Right.READ})
    return frozenset({Right.PUBLISH}) if caller.role is Role.PUBLISHER else frozenset()


def _manages(caller: Caller, account: ServiceAccount) -> bool:
    if account.organization_id != caller.organization or caller.store not in (None, account.store_id):
        return False
    return caller.role in MANAGES or account.rights == [Right.PUBLISH.value]


def _caller(account: ServiceAccount | None, now: datetime) -> Caller:
    if account is None:
        raise _refused("The key is of no service account.")
    if account.revoked_at is not None:
        raise _refused("The service account was revoked.")
    if account.expires_at <= now:
        raise _refused("The service account has expired.")
    return Caller(
        f"{SERVICE_SUBJECT}{account.id}",
        account.organization_id,
        account.store_id,
        Role.SERVICE,
        account.expires_at.timestamp(),
        service_account=str(account.id),
        rights=frozenset(Right(right) for right in account.rights),
    )


def _refused(detail: str) -> Unauthenticated:
    return Unauthenticated(
        detail,
        code="invalid_service_account",
        remedy="Make a service account, and send its key as it was shown.",
        headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
    )


def _named(account: ServiceAccount) -> dict[str, str | None]:
    return {"serviceAccountId": str(account.id), "name": account.name, "storeId": account.store_id}


def _position(cursor: str) -> tuple[datetime, UUID]:
    created_at, account_id = decode_cursor(cursor, 2)
    try:
        position = datetime.fromisoformat(created_at), UUID(account_id)
    except ValueError:
        raise invalid_cursor() from None
    if position[0].tzinfo is None:
        raise invalid_cursor()
    return position
