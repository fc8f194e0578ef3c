"""Row-level security: the wall under the query builders.

A transaction says whose rows it may touch by settings that end with it; the policies of the tables hold every
statement to them, whatever it asks for. Without the settings there are no rows. The policies are forced, so they bind
the owner of the tables, which is the role that the runtime connects as.
"""

from dataclasses import dataclass

import asyncpg

from services.common.events import ORGANIZATION_WIDE

_SETTINGS = (
    "set_config('outlet.platform', '', true), set_config('outlet.organization', $1, true), "
    "set_config('outlet.store', $2, true), set_config('outlet.installation', $3, true)"
)
ENTER = f"SELECT {_SETTINGS}"
"""Narrows the transaction to :meth:`Scope.row`."""
ENTERED = f"entered AS MATERIALIZED (SELECT {_SETTINGS})"
"""The same as part of a statement that has other things to do: select from it, and it happens first."""

OWN_PLACE = (
    "organization_id = current_setting('outlet.organization', true) "
    f"AND current_setting('outlet.store', true) IN ('{ORGANIZATION_WIDE}', store_id)"
)
"""Rows of the replica: those of the organization, and of its one store unless all of them are meant."""
OWN_INSTALLATION = "installation_id = current_setting('outlet.installation', true)"
"""Rows of plugin data."""

_BYPASSES = "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user"


class Unprotected(Exception):
    """The database role is above row-level security, so the runtime must not work with it."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose rows a transaction may touch. ``store`` ``*`` means every store; without an organization it is nobody's."""

    organization: str = ""
    store: str = ""
    installation: str = ""

    def row(self) -> tuple[str, str, str]:
        return self.organization, self.store, self.installation


def protect(table: str, own: str) -> list[str]:
    """The DDL that lets a transaction see and write only rows for which ``own`` holds; the platform sees all."""
    return [
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
        f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY",
        f"CREATE POLICY own ON {table} USING ({own})",
        f"CREATE POLICY platform ON {table} USING (current_setting('outlet.platform', true) = 'on')",
    ]


async def act_as_platform(connection: asyncpg.Connection) -> None:
    """Open every row to the rest of this transaction: for the platform's own work, in which no plugin has a say."""
    await connection.execute("SELECT set_config('outlet.platform', 'on', true)")


async def require_protection(pool: "asyncpg.Pool[asyncpg.Record]") -> None:
    """Raise :class:`Unprotected` when the role that the runtime connects as could look past the policies."""
    if await pool.fetchval(_BYPASSES):
        raise Unprotected(
            "OUTLET_RUNTIME_DATABASE_URL names a role that bypasses row-level security; give the runtime a role of its "
            "own that is neither superuser nor BYPASSRLS and owns its database"
        )
