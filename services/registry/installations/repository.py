"""SQL of installations and their errors."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, and_, delete, func, or_, tuple_
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import Select

from services.registry.installations.lifecycle import Status
from services.registry.models import Installation, InstallationError, PluginVersion

KEPT_ERRORS = 50
MAX_MESSAGE = 2_000  # characters
MAX_STACK = 16_000

Row = tuple[Installation, PluginVersion]

_MANIFEST = col(PluginVersion.manifest)


@dataclass(frozen=True, slots=True)
class InstallationFilter:
    """Which installations of an organization to list. ``store``: in effect there; ``bound_to``: the token's store."""

    organization: str
    bound_to: str | None = None
    status: Status | None = None
    category: str | None = None
    plugin_id: str | None = None
    store: str | None = None
    search: str | None = None
    after: tuple[datetime, UUID] | None = None


class InstallationRepository:
    """Installations within one transaction."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def now(self) -> datetime:
        """The database's clock, so that several registries agree."""
        return (await self._session.exec(select(func.now()))).one()

    async def get(self, installation_id: UUID) -> Row | None:
        """One installation with its version."""
        statement = _with_versions().where(col(Installation.id) == installation_id)
        return (await self._session.exec(statement)).one_or_none()

    async def lock(self, installation_id: UUID) -> Row | None:
        """Like :meth:`get`; nobody else changes it until the transaction ends."""
        statement = _with_versions().where(col(Installation.id) == installation_id).with_for_update(of=Installation)
        return (await self._session.exec(statement)).one_or_none()

    async def find(self, wanted: InstallationFilter, limit: int) -> Sequence[Row]:
        """In the order in which they were made."""
        statement = _with_versions().where(col(Installation.organization_id) == wanted.organization)
        for store in (wanted.bound_to, wanted.store):
            if store is not None:
                statement = statement.where(_in_effect_in(store))
        if wanted.status is not None:
            statement = statement.where(_has_status(wanted.status))
        if wanted.plugin_id is not None:
            statement = statement.where(col(Installation.plugin_id) == wanted.plugin_id)
        if wanted.category is not None:
            statement = statement.where(_MANIFEST["category"].astext == wanted.category)
        if wanted.search is not None:
            texts = (col(Installation.plugin_id), *(_MANIFEST[key].astext for key in ("name", "description")))
            statement = statement.where(or_(*(text.icontains(wanted.search, autoescape=True) for text in texts)))
        position = (col(Installation.created_at), col(Installation.id))
        if wanted.after is not None:
            statement = statement.where(tuple_(*position) > tuple_(*wanted.after))
        return (await self._session.exec(statement.order_by(*position).limit(limit))).all()

    async def overlapping(self, plugin_id: str, organization: str, store: str | None) -> Sequence[Installation]:
        """The installations of a plugin that would be in effect together with one for ``store``; locked."""
        statement = select(Installation).where(
            and_(col(Installation.organization_id) == organization, col(Installation.plugin_id) == plugin_id)
        )
        if store is not None:
            statement = statement.where(_in_effect_in(store))
        return (await self._session.exec(statement.with_for_update())).all()

    async def installed_versions(self, organization: str, store: str | None) -> dict[str, str]:
        """Version by plugin id of what is installed wherever an installation for ``store`` is in effect."""
        statement = select(col(Installation.plugin_id), col(Installation.version)).where(
            col(Installation.organization_id) == organization,
            col(Installation.installed_at).is_not(None),
            col(Installation.status) != Status.UNINSTALLING,
            col(Installation.store_id).is_(None) if store is None else _in_effect_in(store),
        )
        return dict((await self._session.exec(statement)).all())

    async def depending_on(self, organization: str, plugin_id: str) -> Sequence[Row]:
        """The installations in an organization whose versions say that they need a plugin."""
        statement = _with_versions().where(
            col(Installation.organization_id) == organization,
            col(Installation.status) != Status.UNINSTALLING,
            _MANIFEST["dependencies"].contains([{"pluginId": plugin_id}]),
        )
        return (await self._session.exec(statement.order_by(col(Installation.created_at)))).all()

    async def by_revision(self) -> Sequence[Row]:
        """Every installation of every organization, in the order in which their present states were decided."""
        return (await self._session.exec(_with_versions().order_by(col(Installation.revision)))).all()

    async def lock_version(self, plugin_id: str, version: str) -> Sequence[Row]:
        """All installations whose code a version is, itself or as a library, of every organization; locked."""
        statement = _with_versions().where(_runs(plugin_id, version)).order_by(col(Installation.id))
        return (await self._session.exec(statement.with_for_update(of=Installation))).all()

    async def count_version(self, plugin_id: str, version: str) -> int:
        """How many these are."""
        statement = select(func.count()).select_from(Installation).where(_runs(plugin_id, version))
        return (await self._session.exec(statement)).one()

    async def add(self, installation: Installation) -> None:
        self._session.add(installation)
        await self._session.flush()

    async def delete(self, installation: Installation) -> None:
        await self._session.delete(installation)
        await self._session.flush()

    async def record(self, error: InstallationError) -> None:
        """Keep an error, and forget the oldest beyond the newest 50 of the installation."""
        error.message = _storable(error.message)[:MAX_MESSAGE]
        error.stack = _storable(error.stack)[-MAX_STACK:]  # the end of a traceback says what happened
        self._session.add(error)
        await self._session.flush()
        own = col(InstallationError.installation_id) == error.installation_id
        newest = col(InstallationError.id).desc()
        oldest_kept = select(col(InstallationError.id)).where(own).order_by(newest).offset(KEPT_ERRORS).limit(1)
        await self._session.exec(
            delete(InstallationError).where(own, col(InstallationError.id) <= oldest_kept.scalar_subquery())
        )

    async def errors(self, installation_id: UUID) -> Sequence[InstallationError]:
        """The kept errors, newest first."""
        statement = select(InstallationError).where(col(InstallationError.installation_id) == installation_id)
        return (await self._session.exec(statement.order_by(col(InstallationError.id).desc()))).all()


def _storable(text: str) -> str:
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")  # PostgreSQL takes no NUL


def _with_versions() -> Select[Installation, PluginVersion]:
    return select(Installation, PluginVersion).join(
        PluginVersion,
        and_(
            col(PluginVersion.plugin_id) == col(Installation.plugin_id),
            col(PluginVersion.version) == col(Installation.version),
        ),
    )


def _has_status(wanted: Status) -> ColumnElement[bool]:
    """By what is shown: an active installation of a revoked version shows as one in error."""
    status, revoked = col(Installation.status), col(PluginVersion.revoked_at).is_not(None)
    if wanted is Status.ACTIVE:
        return and_(status == wanted, ~revoked)
    if wanted is Status.ERROR:
        return or_(status == wanted, and_(status == Status.ACTIVE, revoked))
    return status == wanted


def _runs(plugin_id: str, version: str) -> ColumnElement[bool]:
    return or_(
        and_(col(Installation.plugin_id) == plugin_id, col(Installation.version) == version),
        col(Installation.libraries).contains([{"pluginId": plugin_id, "version": version}]),
    )


def _in_effect_in(store: str) -> ColumnElement[bool]:
    return or_(col(Installation.store_id).is_(None), col(Installation.store_id) == store)
