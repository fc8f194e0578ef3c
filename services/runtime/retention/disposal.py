"""What an installation stored, when it goes and when the plugin comes back: in the transaction of the lifecycle hook.

So a crash leaves the data with whom it was, and what was asked for can be asked for again.
"""

import asyncpg

from services.common.directory import Installation
from services.runtime.background.work import remove_all
from services.runtime.delivery import ledger
from services.runtime.delivery.unit_of_work import UnitOfWork
from services.runtime.invocation import Invocation
from services.runtime.isolation import ENTER, act_as_platform
from services.runtime.outbound.webhooks import repository as webhooks
from services.runtime.plugin_api.tables import purge
from services.runtime.retention import repository


async def dispose(connection: asyncpg.Connection, installation: Installation) -> None:
    """Drop the data of an installation that is uninstalled, or leave it as was asked.

    Its webhooks, schedules and jobs end in any case, and so do events that wait for its hooks, and its dead letters.
    """
    if await repository.asked(connection, installation.id) == "drop":
        await purge(connection, installation.plugin_id, installation.id)
        await repository.forget(connection, installation.id)
    else:
        await repository.retain(connection, installation.id)
    await remove_all(connection, installation.id)
    await webhooks.forget(connection, installation.id)
    await ledger.forget(connection, installation.id)


async def take_over(database: "asyncpg.Pool[asyncpg.Record]", work: UnitOfWork, invocation: Invocation) -> None:
    """Give an installation what the former one in its place had left to be kept, before its onInstall runs."""
    found = invocation.installation
    async with database.acquire() as connection, connection.transaction():
        await connection.execute(ENTER, *invocation.scope.row())
        if await repository.to_adopt(connection, found) is None:
            return  # as nearly always: then the hook's transaction begins with what the hook does
    async with work.use(writes=True) as connection:
        former = await repository.to_adopt(connection, found, lock=True)
        if former is None:
            return
        # The plugin's code has not begun, and what is touched was found within its own organization.
        await act_as_platform(connection)
        await repository.rebind(connection, found.plugin_id, former, found.id)
        await connection.execute(ENTER, *invocation.scope.row())
