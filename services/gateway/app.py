"""The gateway's wiring: which part gets what, and who closes it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI
from redis.asyncio import Redis

from services.common.auth import TokenVerifier
from services.common.background import running
from services.common.dead_letter_client import DeadLetterClient
from services.common.directory import Directory, DirectoryFollower
from services.common.http import MEBIBYTE, create_app
from services.common.kafka import open_producer
from services.common.metrics import watch_directory
from services.common.runtime_client import RuntimeClient
from services.common.settings import IdentitySettings
from services.common.tracing import TracingSettings
from services.common.worker_channels import WorkerChannels
from services.common.workers import FollowedWorkers
from services.gateway import dead_letters, ingest, plugin_logs, plugin_routes, proxy
from services.gateway.ingest import Publisher
from services.gateway.plugin_logs import PluginLogReader
from services.gateway.plugin_routes import PluginRoutes
from services.gateway.proxy import Upstream, open_client
from services.gateway.realtime import PATH, Realtime
from services.gateway.realtime_feed import RealtimeFeed
from services.gateway.security_headers import SecurityHeadersMiddleware
from services.gateway.settings import GatewaySettings

LARGEST_BODY = 4 * MEBIBYTE  # a package that is published; what is read here has a smaller limit of its own
LIFECYCLE_MARGIN_SECONDS = 10.0  # what the registry may need beside the hook that it waits for


def build_app(settings: GatewaySettings, identity: IdentitySettings, tracing: TracingSettings | None = None) -> FastAPI:
    """The gateway as an ASGI app. It is ready when its directory has caught up and its producer is connected."""

    verifier = TokenVerifier(identity)
    realtime = Realtime(verifier.verify, settings.redis_url, settings.realtime_origins)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            producer = await stack.enter_async_context(open_producer(settings.kafka_bootstrap))
            redis = await stack.enter_async_context(Redis.from_url(settings.redis_url))
            workers = FollowedWorkers(redis)
            runtime = RuntimeClient(workers, app.state.tracing)
            stack.push_async_callback(runtime.close)
            channels = WorkerChannels(workers, app.state.tracing)
            stack.push_async_callback(channels.close)
            directory = Directory()
            follower = DirectoryFollower(settings.kafka_bootstrap, directory)
            watch_directory(app.state.metrics, directory)
            feed = RealtimeFeed(settings.kafka_bootstrap, realtime.deliver)
            stack.push_async_callback(realtime.close)
            all_running = await stack.enter_async_context(
                running(directory=follower.run(), workers=workers.run(), realtime=feed.run())
            )

            answer_within = settings.lifecycle_deadline + LIFECYCLE_MARGIN_SECONDS
            for name, url in (("registry", settings.registry_url), ("ui_components", settings.ui_components_url)):
                client = await stack.enter_async_context(open_client(url, answer_within=answer_within))
                setattr(app.state, name, Upstream(name, client, app.state.tracing))
            app.state.verifier = verifier
            app.state.publisher = Publisher(producer, app.state.tracing)
            app.state.dead_letters = DeadLetterClient(channels)
            app.state.plugin_logs = PluginLogReader(redis, directory)
            app.state.plugin_routes = PluginRoutes(directory, runtime, settings.route_deadline)
            app.state.readiness = {
                "directory": follower.caught_up.is_set,
                "realtime": feed.following.is_set,
                "background": all_running,
            }
            yield

    app = create_app("Outlet gateway", lifespan, body_limit=LARGEST_BODY, service="gateway", tracing=tracing)
    app.add_middleware(SecurityHeadersMiddleware)
    app.mount(PATH, realtime.app)
    # First match wins: what is narrower comes first, the registry takes the rest.
    app.include_router(ingest.router)
    app.include_router(dead_letters.router)
    app.include_router(plugin_logs.router)
    app.include_router(proxy.ui_components)
    app.include_router(proxy.public)
    app.include_router(plugin_routes.router)
    app.include_router(proxy.registry)
    return app
