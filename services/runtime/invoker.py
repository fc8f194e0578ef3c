"""Runs one invocation to its end: in the sandbox, in one transaction, tried again when the platform was at fault."""

import asyncio
import random
import time
from datetime import UTC, datetime
from typing import Any

import asyncpg
import msgspec
import structlog

from services.common.database import DATABASE_ERRORS
from services.common.directory import Installation
from services.common.runtime_client import LifecycleHook, PluginFailed
from services.runtime.background import clocks
from services.runtime.background.work import remove_all
from services.runtime.delivery.unit_of_work import AlreadyDone, TransactionDoomed, UnitOfWork, is_transient
from services.runtime.invocation import Invocation
from services.runtime.isolation import ENTER
from services.runtime.limits.rate_limiter import Allowance
from services.runtime.outbound.webhooks import repository as webhooks
from services.runtime.packages import PackageUnavailable
from services.runtime.plugin_api.errors import ApiRefusal
from services.runtime.plugin_api.groups import Context, Resources
from services.runtime.plugin_api.session import PluginApiSession
from services.runtime.plugin_api.tables import purge
from services.runtime.reporting import Reporter
from services.runtime.sandbox import (
    GuestCall,
    GuestKey,
    PluginInterrupted,
    SandboxPool,
    ScopeData,
    read_route_result,
)

log = structlog.get_logger(__name__)

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0


class _PlatformFailed(Exception):
    """Not the plugin's fault; the cause says what was."""


class Invoker:
    """The one place where a plugin's outcome meets the database."""

    def __init__(
        self,
        database: "asyncpg.Pool[asyncpg.Record]",
        sandbox: SandboxPool,
        resources: Resources,
        reporter: Reporter,
    ) -> None:
        self._database = database
        self._sandbox = sandbox
        self._resources = resources
        self._reporter = reporter

    async def run(self, invocation: Invocation) -> bytes:
        """Run until committed, or until the plugin itself has failed (PluginFailed; everything rolled back).

        Returns the route's result, the configuration as JSON that a lifecycle hook changed, or nothing. A failure of
        the platform (the database is away, a neighbour took the sandbox down) is tried again for as long as the
        caller waits. An invocation that was committed before answers what it answered then.
        """
        alone = False
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                return await self._attempt(invocation, alone=alone)
            except AlreadyDone as done:
                return done.result or b""
            except PluginInterrupted:
                alone = True
                continue
            except _PlatformFailed as error:
                log.warning("invocation will be tried again", target=invocation.target, error=repr(error.__cause__))
            await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311  spreads load, guards nothing
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def call(self, invocation: Invocation) -> bytes:
        """Run a route for whoever asked, as :meth:`run` does; it is counted, and so is its failure."""
        installation, target, store, begun = (
            invocation.installation,
            invocation.target,
            invocation.store,
            time.perf_counter(),
        )
        try:
            return await self.run(invocation)
        except PluginFailed as failure:
            self._reporter.failed(installation, target, failure, store=store)
            raise
        finally:
            self._reporter.route_called(installation, target, store, time.perf_counter() - begun)

    def allowance(self, installation: Installation) -> Allowance:
        """What is left of an installation's API calls."""
        return self._resources.rates.allowance(installation.id)

    async def forget(self, invocation: Invocation) -> None:
        """Delete what an installation stored, without running its code."""
        async with self._database.acquire() as connection, connection.transaction():
            await connection.execute(ENTER, *invocation.scope.row())
            await _forget(connection, invocation.installation)

    async def _attempt(self, invocation: Invocation, *, alone: bool) -> bytes:
        work = UnitOfWork(self._database, invocation.key, invocation.scope)
        session = PluginApiSession(Context(invocation, work, self._resources, self.call))
        limited: list[ApiRefusal] = []

        async def answer(method: str, arguments: dict[str, Any]) -> Any:
            self._reporter.api_called(invocation.installation)
            try:
                await self._resources.rates.take(invocation.installation.id)
            except ApiRefusal as refusal:
                limited.append(refusal)
                raise
            return await _answer(session, method, arguments)

        try:
            result = await self._sandbox.invoke(
                _guest_key(invocation),
                _guest_call(invocation),
                answer,
                deadline=invocation.time_limit,
                alone=alone,
                wanted=invocation.installation.manifest.limits,
            )
            if invocation.kind == "route" and read_route_result(result).undo and _stands(work):
                return result
            work.settle()
            if invocation.kind == "lifecycle":
                result = session.changed_config or b""
            if invocation.target == LifecycleHook.ON_ACTIVATE.value and invocation.installation.manifest.schedules:
                async with work.use(writes=True) as connection:
                    await clocks.restart(connection, invocation.installation, datetime.now(UTC))
            if invocation.target == LifecycleHook.ON_UNINSTALL.value:
                async with work.use(writes=True) as connection:
                    await _forget(connection, invocation.installation)
            await work.commit(result if invocation.kind in ("route", "lifecycle") else None)
        except (PluginFailed, TransactionDoomed) as error:
            raise _verdict(error, work, limited) from (work.failure or error)
        except PackageUnavailable as error:
            raise _PlatformFailed from error
        except DATABASE_ERRORS as error:
            if is_transient(error):
                raise _PlatformFailed from error
            raise
        finally:
            await work.rollback()
        session.committed()
        return result


async def _forget(connection: asyncpg.Connection, installation: Installation) -> None:
    await purge(connection, installation.plugin_id, installation.id)
    await remove_all(connection, installation.id)
    await webhooks.forget(connection, installation.id)


def _stands(work: UnitOfWork) -> bool:
    """Whether what a plugin decided after a database failure is its own decision."""
    return not is_transient(work.failure) and not isinstance(work.failure, AlreadyDone)


def _verdict(error: PluginFailed | TransactionDoomed, work: UnitOfWork, limited: list[ApiRefusal]) -> Exception:
    """Who failed: a plugin whose database call the platform failed is not to blame for failing after it.

    One that raised after it had been told to make fewer calls (``limited``) failed for that reason.
    """
    if isinstance(work.failure, AlreadyDone):
        return work.failure
    if is_transient(work.failure):
        return _PlatformFailed()
    if isinstance(error, PluginFailed):
        too_many = limited and error.code == "plugin_raised"
        return PluginFailed("plugin_rate_limited", limited[-1].message, error.stack) if too_many else error
    if isinstance(work.failure, asyncio.CancelledError):
        return PluginFailed("plugin_bad_result", "the call ended while an API call of it still ran: await every one")
    return PluginFailed("plugin_bad_result", f"the call ended although a database operation failed: {work.failure}")


async def _answer(session: PluginApiSession, method: str, arguments: dict[str, Any]) -> Any:
    try:
        return await session(method, arguments)
    except ApiRefusal:
        raise
    except (AlreadyDone, TransactionDoomed) as error:
        raise ApiRefusal("transaction_failed", str(error)) from error
    except DATABASE_ERRORS as error:
        # What the database says stays on the host's side; the attempt is doomed and judged when the call ends.
        raise ApiRefusal("database_failed", "the database could not do this") from error


def _guest_key(invocation: Invocation) -> GuestKey:
    installation = invocation.installation
    return GuestKey(installation.organization_id, installation.plugin_id, installation.digest)


def _guest_call(invocation: Invocation) -> GuestCall:
    installation = invocation.installation
    secrets = frozenset(installation.manifest.secret_settings())
    facts = {
        "organization": installation.organization_id,
        "store": installation.store_id,
        "config": {name: value for name, value in installation.config.items() if name not in secrets},
        "secrets": sorted(secrets & installation.config.keys()),
    }
    scope = ScopeData(installation.id, installation.revision, msgspec.msgpack.encode(facts))
    return GuestCall(invocation.kind, invocation.target, scope, invocation.payload)
