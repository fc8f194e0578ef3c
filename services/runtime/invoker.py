"""Runs one invocation to its end: in the sandbox, in one transaction, tried again when the platform was at fault."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import msgspec
import structlog

from services.common.database import DATABASE_ERRORS
from services.common.directory import Installation
from services.common.runtime_client import LifecycleHook, PluginFailed
from services.common.tracing import current
from services.runtime.background import clocks
from services.runtime.delivery import ledger
from services.runtime.delivery.shared_work import SharedWork, Sharing
from services.runtime.delivery.unit_of_work import (
    AlreadyDone,
    TransactionDoomed,
    UndoneTogether,
    UnitOfWork,
    is_transient,
)
from services.runtime.invocation import Invocation
from services.runtime.isolation import ENTER
from services.runtime.limits.rate_limiter import Allowance
from services.runtime.plugin_api.errors import ApiRefusal
from services.runtime.plugin_api.groups import Context, Resources
from services.runtime.plugin_api.session import METHODS, PluginApiSession
from services.runtime.plugin_api.tables import clear_columns
from services.runtime.reporting import Reporter
from services.runtime.retention.disposal import dispose, take_over
from services.runtime.sandbox import (
    GuestCall,
    GuestKey,
    PluginInterrupted,
    SandboxPool,
    ScopeData,
    read_route_result,
)
from services.runtime.spans import answering, calling

log = structlog.get_logger(__name__)

_NOW = "SELECT clock_timestamp()"
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0


class PlatformFailed(Exception):
    """Not the plugin's fault; the cause says what was. Trying again may help."""


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

    async def run(self, invocation: Invocation, *, alone: bool = False) -> bytes:
        """Run until committed, or until the plugin itself has failed (PluginFailed; everything rolled back).

        Returns the route's result, the configuration as JSON that a lifecycle hook changed, or nothing. A failure of
        the platform (the database is away, a neighbour took the sandbox down) is tried again for as long as the
        caller waits. An invocation that was committed before answers what it answered then. ``alone``: the first
        attempt has the guest for itself already.
        """
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                return await self._attempt(invocation, alone=alone)
            except AlreadyDone as done:
                return done.result or b""
            except PluginInterrupted:
                alone = True
                continue
            except PlatformFailed as error:
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
            with calling(self._resources.tracing, invocation, current()) as invocation:
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

    def sharing(self, invocation: Invocation) -> Sharing:
        """What the invocations of this one's installation can share their transactions by."""
        return Sharing(self._database, invocation.scope)

    async def pass_over(self, invocation: Invocation) -> None:
        """Do what comes with a lifecycle hook without running the plugin's code.

        What waits for it is discarded if that was asked, and what it stored is dropped or left as was asked.
        """
        async with self._database.acquire() as connection, connection.transaction():
            await connection.execute(ENTER, *invocation.scope.row())
            if invocation.discards_backlog:
                await ledger.discard(connection, invocation.installation.id)
            if invocation.target == LifecycleHook.ON_UNINSTALL.value:
                await dispose(connection, invocation.installation)

    def open(self, invocation: Invocation, sharing: Sharing | None = None) -> "Attempt":
        """An attempt whose API calls can be answered, and which :meth:`Attempt.conclude` brings to its end.

        With ``sharing``, it may share its transaction with others.
        """
        return Attempt(invocation, self._database, self._resources, self._reporter, self.call, sharing)

    async def _attempt(self, invocation: Invocation, *, alone: bool) -> bytes:
        attempt = self.open(invocation)

        async def outcome() -> bytes:
            if invocation.target == LifecycleHook.ON_INSTALL.value:
                await attempt.take_over()
            return await self._sandbox.invoke(
                guest_key(invocation.installation),
                guest_call(invocation),
                attempt.answer,
                deadline=invocation.time_limit,
                alone=alone,
                wanted=invocation.installation.manifest.limits,
            )

        return await attempt.conclude(outcome())


class Attempt:
    """One attempt of one invocation: what it does through the Plugin API, and its transaction."""

    def __init__(
        self,
        invocation: Invocation,
        database: "asyncpg.Pool[asyncpg.Record]",
        resources: Resources,
        reporter: Reporter,
        call: Callable[[Invocation], Awaitable[bytes]],
        sharing: Sharing | None = None,
    ) -> None:
        self._invocation = invocation
        self._database = database
        self._rates = resources.rates
        self._tracing = resources.tracing
        self._reporter = reporter
        self._work = _work(invocation, database, sharing)
        self._session = PluginApiSession(Context(invocation, self._work, resources, call))
        self._limited: list[ApiRefusal] = []

    async def answer(self, method: str, arguments: dict[str, Any]) -> Any:
        """Answer one API call. Raises ApiRefusal, or what the platform failed with."""
        if not self._tracing.on:
            return await self._counted(method, arguments)
        with answering(self._tracing, self._invocation, method, known=method in METHODS):
            return await self._counted(method, arguments)

    async def _counted(self, method: str, arguments: dict[str, Any]) -> Any:
        self._reporter.api_called(self._invocation.installation)
        try:
            await self._rates.take(self._invocation.installation.id)
        except ApiRefusal as refusal:
            self._limited.append(refusal)
            raise
        return await _answer(self._session, method, arguments)

    async def take_over(self) -> None:
        """Give the installation what a former one left for it, within this attempt's transaction."""
        await take_over(self._database, self._work, self._invocation)

    async def conclude(self, outcome: Awaitable[bytes]) -> bytes:
        """Await what the plugin answers, and keep what it did, or nothing of it.

        Raises PluginFailed, AlreadyDone, PluginInterrupted, PlatformFailed, or a defect of the host.
        """
        work = self._work
        try:
            result = await outcome
            if self._invocation.kind == "route" and read_route_result(result).undo and _stands(work):
                return result
            work.settle()
            result = await self._keep(result)
        except (PluginFailed, TransactionDoomed) as error:
            raise _verdict(error, work, self._limited) from (work.failure or error)
        except (UndoneTogether, *DATABASE_ERRORS) as error:
            if is_transient(error):
                raise PlatformFailed from error
            raise
        finally:
            await work.rollback()
        self._session.committed()
        return result

    async def _keep(self, result: bytes) -> bytes:
        invocation, work = self._invocation, self._work
        if invocation.kind == "lifecycle":
            result = self._session.changed_config or b""
        if invocation.target == LifecycleHook.ON_ACTIVATE.value and invocation.installation.manifest.schedules:
            async with work.use(writes=True) as connection:
                await clocks.restart(connection, invocation.installation, await connection.fetchval(_NOW))
        if invocation.discards_backlog:
            async with work.use(writes=True) as connection:
                await ledger.discard(connection, invocation.installation.id)
        if invocation.former_digest:
            async with work.use(writes=True) as connection:
                await clear_columns(connection, invocation.installation, invocation.former_digest)
        if invocation.target == LifecycleHook.ON_UNINSTALL.value:
            async with work.use(writes=True) as connection:
                await dispose(connection, invocation.installation)
        await work.commit(result if invocation.kind in ("route", "lifecycle") else None)
        return result


def _work(invocation: Invocation, database: "asyncpg.Pool[asyncpg.Record]", sharing: Sharing | None) -> UnitOfWork:
    if sharing is None or not sharing.invites(invocation.target):
        return UnitOfWork(database, invocation.key, invocation.scope)
    return SharedWork(database, invocation.key, invocation.scope, sharing)


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
        return PlatformFailed()
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
    except (AlreadyDone, TransactionDoomed, UndoneTogether) as error:
        raise ApiRefusal("transaction_failed", str(error)) from error
    except DATABASE_ERRORS as error:
        # What the database says stays on the host's side; the attempt is doomed and judged when the call ends.
        raise ApiRefusal("database_failed", "the database could not do this") from error


def guest_key(installation: Installation) -> GuestKey:
    """Which guest runs an installation's code."""
    organization = installation.organization_id
    libraries = tuple(
        GuestKey(organization, each.plugin_id, each.digest, each.version, each.provenance)
        for each in installation.libraries
    )
    return GuestKey(
        organization,
        installation.plugin_id,
        installation.digest,
        installation.version,
        installation.provenance,
        libraries,
    )


def guest_call(invocation: Invocation) -> GuestCall:
    """What a guest is sent for an invocation."""
    return GuestCall(invocation.kind, invocation.target, scope_data(invocation.installation), invocation.payload)


def scope_data(installation: Installation) -> ScopeData:
    """What a guest may know of an installation."""
    secrets = frozenset(installation.manifest.secret_settings())
    facts = {
        "organization": installation.organization_id,
        "store": installation.store_id,
        "config": {name: value for name, value in installation.config.items() if name not in secrets},
        "secrets": sorted(secrets & installation.config.keys()),
    }
    return ScopeData(installation.id, installation.revision, msgspec.msgpack.encode(facts), installation.variant)
