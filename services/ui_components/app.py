"""The wiring of ui_components: a directory that is followed, and the query it answers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from services.common.auth import TokenVerifier
from services.common.background import running
from services.common.directory import Directory, DirectoryFollower
from services.common.http import create_app
from services.common.metrics import watch_directory
from services.common.settings import IdentitySettings
from services.common.tracing import TracingSettings
from services.ui_components import injection_points
from services.ui_components.settings import UiComponentsSettings


def build_app(
    settings: UiComponentsSettings, identity: IdentitySettings, tracing: TracingSettings | None = None
) -> FastAPI:
    """The service as an ASGI app. It is ready when its directory has caught up."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        directory = Directory()
        follower = DirectoryFollower(settings.kafka_bootstrap, directory)
        watch_directory(app.state.metrics, directory)
        async with running(directory=follower.run()) as all_running:
            app.state.verifier = TokenVerifier(identity)
            app.state.directory = directory
            app.state.readiness = {"directory": follower.caught_up.is_set, "background": all_running}
            yield

    app = create_app("Outlet UI components", lifespan, service="ui_components", tracing=tracing)
    app.include_router(injection_points.router)
    return app
