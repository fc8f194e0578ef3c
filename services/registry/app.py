"""The registry, wired: the only place that opens connections and knows who needs what."""

from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import structlog
from fastapi import Depends, FastAPI
from sqlmodel import select

from outlet.package import MAX_BYTES
from services.common.auth import TokenVerifier
from services.common.background import running
from services.common.database import migrate
from services.common.errors import Unavailable
from services.common.http import create_app
from services.common.kafka import ensure_topics, open_producer
from services.common.outbox import OutboxRelay
from services.common.runtime_client import RuntimeClient
from services.common.settings import SERVICE_ACCOUNT_ISSUER, TrustedIssuer
from services.common.topics import BREAKERS, EXECUTIONS, STATISTICS
from services.common.tracing import TracingSettings
from services.registry.audit import endpoints as audit
from services.registry.audit.service import AuditService
from services.registry.bulk import endpoints as bulk
from services.registry.bulk.carrier import Carrier
from services.registry.bulk.keeper import BulkKeeper
from services.registry.bulk.service import BulkService
from services.registry.catalogue import endpoints as catalogue
from services.registry.catalogue.service import CatalogueService
from services.registry.database import Transaction, open_engine, transactions
from services.registry.dependencies.service import DependencyService
from services.registry.following import follow
from services.registry.installations import endpoints as installations
from services.registry.installations.operations import Operations
from services.registry.installations.queries import InstallationQueries
from services.registry.installations.service import InstallationService
from services.registry.licences import endpoints as licences
from services.registry.licences.entitlement import LicenceKeeper
from services.registry.licences.service import LicenceService
from services.registry.mirror import endpoints as mirror
from services.registry.mirror.feed import MirrorFeed
from services.registry.mirror.sync import Mirror
from services.registry.mirror.upstream import Upstream, open_upstream
from services.registry.nul import refuse_nul
from services.registry.packages.storage import open_storage
from services.registry.publisher_keys import endpoints as publisher_keys
from services.registry.publisher_keys.service import PublisherKeyService
from services.registry.reconciliation import reconcile
from services.registry.reports.breakers import Breakers, carry_out
from services.registry.reports.executions import GROUP as REPORTS
from services.registry.reports.executions import ExecutionCounter
from services.registry.reports.repository import ReportRepository
from services.registry.reports.statistics import StatisticsKeeper
from services.registry.resealing import reseal
from services.registry.retained import endpoints as retained
from services.registry.reviews import endpoints as reviews
from services.registry.reviews.service import ReviewService
from services.registry.rollouts import endpoints as rollouts
from services.registry.rollouts.keeper import RolloutKeeper
from services.registry.rollouts.service import RolloutService
from services.registry.scopes import endpoints as scopes
from services.registry.scopes.queries import ScopeQueries
from services.registry.scopes.regions import RegionService
from services.registry.scopes.service import OverrideService
from services.registry.service_accounts import endpoints as service_accounts
from services.registry.service_accounts.exchange import TokenExchange
from services.registry.service_accounts.keys import TokenSigner
from services.registry.service_accounts.service import RegistryVerifier, ServiceAccountService
from services.registry.setting_changes.consumer import SettingChangeConsumer
from services.registry.settings import RegistrySettings
from services.registry.submissions import endpoints as submissions
from services.registry.submissions.service import SubmissionService
from services.registry.updates import endpoints as updates
from services.registry.updates.keeper import UpdateKeeper
from services.registry.updates.queries import UpdateQueries
from services.registry.updates.service import UpdateService
from services.registry.withdrawals import endpoints as withdrawals
from services.registry.withdrawals.service import WithdrawalService
from services.registry.workers import LiveWorkers, open_redis

log = structlog.get_logger(__name__)

MIGRATIONS = Path(__file__).parent / "migrations"


def create_registry(settings: RegistrySettings, tracing: TracingSettings | None = None) -> FastAPI:
    """The registry's HTTP application; everything it needs is opened when it starts."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as opened:
            await _start(app, settings, opened)
            yield

    app = create_app("Outlet registry", lifespan, body_limit=MAX_BYTES, service="registry", tracing=tracing)
    app.router.dependencies.append(Depends(refuse_nul))
    app.include_router(catalogue.router)  # before the installations: neither "marketplace" nor "retained" is one
    app.include_router(catalogue.internal)
    app.include_router(publisher_keys.router)
    app.include_router(withdrawals.router)
    app.include_router(submissions.router)
    app.include_router(mirror.router)
    app.include_router(retained.router)
    app.include_router(audit.router)
    app.include_router(reviews.router)
    app.include_router(licences.public)
    app.include_router(licences.router)
    app.include_router(service_accounts.public)
    app.include_router(service_accounts.router)
    app.include_router(service_accounts.internal)
    app.include_router(updates.router)
    app.include_router(rollouts.router)
    app.include_router(bulk.router)
    app.include_router(scopes.router)  # nor "regions"
    app.include_router(installations.router)
    return app


async def _start(app: FastAPI, settings: RegistrySettings, opened: AsyncExitStack) -> None:
    dsn, bootstrap = settings.registry_database_url, settings.kafka_bootstrap
    packages = open_storage(settings.package_storage)
    await migrate(dsn, MIGRATIONS)
    if settings.kafka_create_topics:
        await ensure_topics(bootstrap, partitions=settings.kafka_partitions, replication=settings.kafka_replication)
    engine = await opened.enter_async_context(open_engine(dsn, settings.database_connections))
    transaction = transactions(engine)
    pool = await opened.enter_async_context(asyncpg.create_pool(dsn, min_size=1, max_size=2))
    producer = await opened.enter_async_context(open_producer(bootstrap))
    redis = open_redis(settings.redis_url)
    opened.push_async_callback(redis.aclose)
    workers = LiveWorkers(redis)
    runtime = RuntimeClient(workers, app.state.tracing)
    opened.push_async_callback(runtime.close)
    relay = OutboxRelay(pool, producer)
    keys = settings.keys()
    await reseal(transaction, keys)
    await reconcile(bootstrap, transaction, relay)

    operations = Operations(transaction, runtime, relay.wake, deadline=settings.lifecycle_deadline)
    app.state.runtime = runtime
    app.state.transaction = transaction
    app.state.audit = AuditService(transaction)
    app.state.reviews = ReviewService(transaction)
    keeper = LicenceKeeper(transaction, operations, settings.licence_seconds)
    payments = settings.payments()
    if payments is not None:
        opened.push_async_callback(payments.close)
    app.state.licence_keeper = keeper
    app.state.licences = LicenceService(transaction, payments, keeper.wake)
    accounts = ServiceAccountService(transaction)
    signer = TokenSigner(keys, settings.jwt_audience)
    own_tokens = TrustedIssuer(SERVICE_ACCOUNT_ISSUER, signer.public(), service_accounts=True)
    app.state.verifier = RegistryVerifier(TokenVerifier(settings, own_tokens), accounts)
    app.state.service_accounts = accounts
    app.state.token_signer = signer
    app.state.token_exchange = TokenExchange(accounts, signer)
    app.state.catalogue = CatalogueService(transaction, packages, relay.wake, automatic=settings.review == "automatic")
    app.state.operator_organization = settings.operator_organization
    app.state.mirror_feed = MirrorFeed(transaction, packages)
    app.state.submissions = SubmissionService(transaction, packages)
    app.state.withdrawals = WithdrawalService(transaction, workers, relay.wake)
    app.state.publisher_keys = PublisherKeyService(transaction)
    app.state.installations = InstallationService(transaction, operations, keys, packages)
    app.state.dependencies = DependencyService(transaction, app.state.installations)
    app.state.installation_queries = InstallationQueries(transaction, workers)
    app.state.updates = UpdateService(transaction, operations, keys, packages)
    app.state.update_queries = UpdateQueries(transaction, app.state.dependencies)
    app.state.rollouts = RolloutService(transaction)
    app.state.rollout_keeper = RolloutKeeper(transaction, app.state.updates)
    app.state.update_keeper = UpdateKeeper(transaction, app.state.updates, operations)
    app.state.bulk = BulkService(transaction, keys)
    carrier = Carrier(app.state.installations, app.state.updates, app.state.dependencies, keys)
    app.state.bulk_keeper = BulkKeeper(
        transaction, carrier, settings.bulk_at_once, patience=2 * operations.marker_lifetime
    )
    app.state.regions = RegionService(transaction, operations)
    app.state.overrides = OverrideService(transaction, operations, keys)
    app.state.scope_queries = ScopeQueries(transaction)
    async with transaction() as session:
        await ReportRepository(session).forget_old_cursors()
    breakers = Breakers(transaction, operations)
    mirroring: dict[str, Coroutine[Any, Any, None]] = {}
    if settings.upstream_url is not None:
        client = open_upstream(settings.upstream_url, settings.upstream_token.get_secret_value())
        upstream = Upstream(await opened.enter_async_context(client))
        copying = Mirror(transaction, packages, upstream, settings.pinned_keys(), relay.wake)
        mirroring["mirror"] = copying.run(settings.upstream_seconds)
    all_running = await opened.enter_async_context(
        running(
            outbox=relay.run(),
            licences=keeper.run(),
            settings=SettingChangeConsumer(bootstrap, transaction, relay.wake).run(),
            executions=follow(bootstrap, EXECUTIONS, REPORTS, ExecutionCounter(transaction).apply),
            statistics=follow(bootstrap, STATISTICS, REPORTS, StatisticsKeeper(transaction).apply),
            updates=app.state.update_keeper.run(settings.update_turn_seconds),
            rollouts=app.state.rollout_keeper.run(settings.update_turn_seconds),
            bulk=app.state.bulk_keeper.run(settings.bulk_turn_seconds),
            breakers=follow(bootstrap, BREAKERS, REPORTS, partial(carry_out, breakers)),
            **mirroring,
        )
    )
    app.state.readiness = {
        "database": lambda: _answers(transaction),
        "background": all_running,
    }


async def _answers(transaction: Transaction) -> bool:
    try:
        async with transaction() as session:
            await session.exec(select(1))
    except Unavailable:
        return False
    return True
