"""API calls of one invocation, committed together, as a guest would make them."""

import uuid
from typing import Any, TypeAlias

import asyncpg

from services.common.directory import Installation
from services.runtime.delivery.unit_of_work import UnitOfWork
from services.runtime.invocation import Invocation, Kind
from services.runtime.plugin_api.groups import Context
from services.runtime.plugin_api.session import PluginApiSession
from tests.runtime.resources import resources

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Call: TypeAlias = tuple[str, dict[str, Any]]


class Calls:
    """Makes API calls for installations, each time in an invocation of its own. ``held`` are its resources."""

    def __init__(self, pool: Pool, **held: Any) -> None:
        self._pool = pool
        self._resources = resources(**held)

    async def __call__(
        self,
        found: Installation,
        *calls: Call,
        kind: Kind = "hook",
        store: str | None = "s1",
        cause: str = "",
        keep: bool = True,
    ) -> Any:
        """The answer to the last call. ``cause`` is the event's id, a new one unless it is given."""
        invocation = Invocation(found, kind, "sale.created", "urn:test", cause or uuid.uuid4().hex, store, b"", 5.0)
        work = UnitOfWork(self._pool, invocation.key, invocation.scope)
        session = PluginApiSession(Context(invocation, work, self._resources))
        try:
            answers = [await session(method, dict(arguments)) for method, arguments in calls]
            if keep:
                await work.commit()
        finally:
            await work.rollback()
        return answers[-1]
