"""The one place where a worker is wired together; it owns every connection and task of the process."""

import asyncio
import signal
from contextlib import AsyncExitStack

import anyio
import asyncpg
import httpx
import structlog
from redis.asyncio import Redis

from services.common.database import migrate
from services.common.directory import Directory, DirectoryFollower
from services.common.kafka import open_producer
from services.common.outbox import OutboxRelay
from services.common.telemetry import configure_logging
from services.common.tracing import TracingSettings, open_tracing
from services.common.workers import Worker, WorkerLease
from services.runtime.background.jobs import BackgroundRunner
from services.runtime.background.scheduler import Scheduler
from services.runtime.clock import DatabaseClock
from services.runtime.collector import collect_rarely
from services.runtime.dead_letter_server import DeadLetterService
from services.runtime.delivery.consumer import EventConsumer
from services.runtime.delivery.dead_letter_queries import DeadLetterQueries
from services.runtime.delivery.dead_letters import UnreadableRecords, outline
from services.runtime.delivery.dispatch import Dispatcher
from services.runtime.delivery.failures import Failures
from services.runtime.delivery.group import GROUP, open_consumer
from services.runtime.delivery.hooks import Hooks
from services.runtime.delivery.ledger import Ledger
from services.runtime.delivery.ledger_retention import keep_sweeping as keep_sweeping_ledger
from services.runtime.delivery.membership import Membership
from services.runtime.delivery.parking import Parking
from services.runtime.delivery.retries import RetryRunner, new_holder
from services.runtime.invoker import Invoker
from services.runtime.isolation import require_protection
from services.runtime.kill_switch import KillSwitch
from services.runtime.limits.rate_limiter import RateLimiter
from services.runtime.limits.token_bucket import Rate
from services.runtime.metrics import RuntimeCollector, showing
from services.runtime.models import MIGRATIONS
from services.runtime.outbound.client import OutboundClient
from services.runtime.outbound.fetching import Fetcher
from services.runtime.outbound.guard import Guard, SystemResolver
from services.runtime.outbound.limits import FetchLimits
from services.runtime.outbound.webhooks.feed import WebhookFeed
from services.runtime.outbound.webhooks.sender import WebhookSender
from services.runtime.packages import PackageStore
from services.runtime.plugin_api.groups import Resources
from services.runtime.plugin_api.key_value_store import keep_sweeping
from services.runtime.plugin_api.tables import TableCatalog
from services.runtime.reporting import Reporter
from services.runtime.retention.retention import Retention
from services.runtime.sandbox import (
    MEANING,
    OperatorLimits,
    SandboxPool,
    Zygote,
    hide_from_other_processes,
    require_tier,
)
from services.runtime.server import GrpcServer, PluginRuntime
from services.runtime.sessions import session_settings
from services.runtime.settings import RuntimeSettings

log = structlog.get_logger(__name__)

ANNOUNCE_SECONDS = 5.0
SLOW_SHARE = 8
"""What waits for a slow plugin may take up this part of what a worker has in hand, an eighth."""


async def run(settings: RuntimeSettings, traces: TracingSettings | None = None) -> None:
    """Run one worker until SIGTERM or SIGINT, then end what runs, commit and leave.

    Raises what made the worker unable to go on: whoever supervises it starts it again.
    """
    hide_from_other_processes()
    await migrate(settings.runtime_database_url, MIGRATIONS)
    async with AsyncExitStack() as stack:
        tracing = await stack.enter_async_context(open_tracing("runtime", traces))
        sessions = session_settings(settings.longest_call)
        database = await stack.enter_async_context(
            asyncpg.create_pool(
                settings.runtime_database_url,
                min_size=2,
                max_size=settings.database_connections,
                reset=_keep_session,
                server_settings=sessions,
            )
        )
        await require_protection(database)
        relay_database = await stack.enter_async_context(
            asyncpg.create_pool(settings.runtime_database_url, min_size=1, max_size=1, server_settings=sessions)
        )
        redis = await stack.enter_async_context(Redis.from_url(settings.redis_url))
        registry = await stack.enter_async_context(httpx.AsyncClient(base_url=settings.registry_url))
        producer = await stack.enter_async_context(open_producer(settings.kafka_bootstrap))
        zygote = await stack.enter_async_context(Zygote(settings.zygote_socket))
        tier = await require_tier(zygote, settings.required_tier)
        log.info("sandbox tried", tier=tier, walls=MEANING[tier], required=settings.required_tier)
        sandbox = SandboxPool(
            zygote,
            PackageStore(registry).fetch,
            concurrency=settings.guest_concurrency,
            limits=OperatorLimits(
                memory_mib=settings.sandbox_memory_mib,
                cpu_seconds=settings.sandbox_cpu_seconds,
                bytes_per_second=settings.sandbox_bytes_per_second,
                log_lines_per_second=settings.sandbox_log_lines_per_second,
            ),
            minimum=settings.required_tier,
        )
        stack.push_async_callback(sandbox.close)

        directory = Directory(KillSwitch(sandbox))
        follower = DirectoryFollower(settings.kafka_bootstrap, directory)
        reporter = Reporter(producer, settings.worker_id)
        resolver = SystemResolver()
        stack.callback(resolver.close)
        guard = Guard(denied=settings.denied_networks, allowed=settings.allowed_networks)
        outbound = await stack.enter_async_context(
            OutboundClient(guard, resolver, authorities=settings.outbound_ca_file)
        )
        if settings.allowed_networks:
            log.warning("plugins may reach private networks", networks=settings.outbound_allowed)
        limits = FetchLimits(
            per_minute=settings.fetches_per_minute, in_transactions=max(1, settings.database_connections // 4)
        )
        rates = RateLimiter(redis, Rate(settings.api_calls_burst, settings.api_calls_per_minute))
        webhooks = WebhookFeed()
        await webhooks.refresh(database)
        resources = Resources(
            tables=TableCatalog(),
            directory=directory,
            rates=rates,
            validating=anyio.CapacityLimiter(1),
            fetcher=Fetcher(outbound, limits, tracing, tell_trace=settings.trace_fetches),
            keys=settings.keys(),
            webhooks=webhooks,
            tracing=tracing,
        )
        invoker = Invoker(database, sandbox, resources, reporter)
        retention = Retention(database, days=settings.retention_days)
        ledger = Ledger(database, new_holder())
        clock = DatabaseClock(database)
        await clock.look()
        failures = Failures(ledger, settings.retry_policy, now=clock)
        hooks = Hooks(directory, sandbox, invoker, reporter, failures, deadline=settings.hook_deadline, tracing=tracing)
        dispatcher = Dispatcher(directory, database, ledger, hooks, webhooks)
        retries = RetryRunner(ledger, hooks, failures, now=clock)
        sender = WebhookSender(directory, database, outbound, now=clock, tracing=tracing)
        scheduler = Scheduler(directory, database, clock)
        runner = BackgroundRunner(
            directory, database, invoker, reporter, deadline=settings.job_deadline, now=clock, tracing=tracing
        )
        instance = settings.worker_instance
        consumer = await stack.enter_async_context(
            open_consumer(
                settings.kafka_bootstrap,
                GROUP,
                instance=instance,
                session_timeout=settings.session_timeout,
                drain_seconds=settings.drain_seconds,
            )
        )
        events = EventConsumer(
            consumer,
            database,
            dispatcher,
            hooks,
            UnreadableRecords(producer),
            records_in_flight=settings.records_in_flight,
            drain_seconds=settings.drain_seconds,
            tracing=tracing,
            membership=None if instance is None else Membership(settings.kafka_bootstrap, GROUP, instance),
        )
        server = GrpcServer(
            f"{settings.host}:{settings.runtime_port}",
            PluginRuntime(
                directory,
                invoker,
                reporter,
                retention,
                route_deadline=settings.route_deadline,
                lifecycle_deadline=settings.lifecycle_deadline,
                tracing=tracing,
            ),
            DeadLetterService(directory, DeadLetterQueries(database, now=clock)),
            tier,
            tracing,
        )
        shown = RuntimeCollector(tier, sandbox, zygote, reporter, directory, lambda: events.unfinished)
        await stack.enter_async_context(
            showing(settings.host, settings.runtime_metrics_port, shown, lambda: server.is_ready, tracing.exports)
        )
        relay = OutboxRelay(relay_database, producer, outline, tracing)
        lease = WorkerLease(
            redis,
            lambda: Worker(
                id=settings.worker_id,
                address=settings.address,
                directory_revision=directory.revision,
                sandbox_tier=tier,
            ),
        )

        stopping = _on_stop_signals()
        async with asyncio.TaskGroup() as background:
            tasks = [background.create_task(work) for work in (follower.run(), relay.run(), reporter.run())]
            await follower.caught_up.wait()
            async with server.serving():
                tasks.append(background.create_task(lease.run()))
                tasks += [
                    background.create_task(work) for work in (scheduler.run(), runner.run(), keep_sweeping(database))
                ]
                tasks += [background.create_task(work) for work in (webhooks.run(database), sender.run(), clock.run())]
                tasks.append(background.create_task(retention.keep_sweeping(directory)))
                tasks.append(background.create_task(keep_sweeping_ledger(database, settings.ledger_retention)))
                consuming = background.create_task(events.run())
                retrying = background.create_task(retries.run())
                tasks.append(
                    background.create_task(
                        Parking(hooks, events.full, most=settings.records_in_flight // SLOW_SHARE).run()
                    )
                )
                collect_rarely()
                await _announced(lease)
                await server.ready()
                log.info("worker ready", worker=settings.worker_id, address=settings.address)
                await asyncio.wait([consuming, asyncio.create_task(stopping.wait())], return_when="FIRST_COMPLETED")
                log.info("worker stopping", worker=settings.worker_id)
                consuming.cancel()
                await events.drain()
                retrying.cancel()
            for task in tasks:
                task.cancel()


async def _keep_session(_: asyncpg.Connection) -> None:
    """Nothing of a session outlives a unit of work but its transaction, which that ends: spare the round trip."""


async def _announced(lease: WorkerLease) -> None:
    """Who finds this worker ready finds it among the live ones too, unless Redis is away or does not answer."""
    try:
        async with asyncio.timeout(ANNOUNCE_SECONDS):
            await lease.tried.wait()
    except TimeoutError:
        log.warning("worker not announced yet: Redis does not answer", seconds=ANNOUNCE_SECONDS)


def _on_stop_signals() -> asyncio.Event:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    return stopping


def main() -> None:
    settings = RuntimeSettings()
    configure_logging("runtime", settings)
    asyncio.run(run(settings, TracingSettings()))
