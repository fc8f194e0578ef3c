"""``python -m services.runtime.insights``: a Faust application that watches what plugins do.

It reads ``outlet.executions``, keeps the last minute of each installation in memory, and tells the registry statistics
(``outlet.statistics``) and which circuit breakers are to change (``outlet.breakers``). It answers HTTP for health only.
"""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from tempfile import TemporaryDirectory
from typing import Any

import faust
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from fastapi import FastAPI

from services.common.background import running
from services.common.directory import Directory, DirectoryFollower
from services.common.http import create_app, serve
from services.common.insights import encode
from services.common.kafka import open_producer
from services.common.metrics import watch_directory
from services.common.topics import BREAKERS, EXECUTIONS, STATISTICS
from services.runtime.breaker.observation import Observation
from services.runtime.insights_settings import InsightsSettings

log = structlog.get_logger(__name__)

GROUP = "outlet.insights"
TICK_SECONDS = 1.0
STOP_SECONDS = 5.0


def create_insights(settings: InsightsSettings) -> FastAPI:
    """The process's HTTP application (health only), whose lifespan is that of the Faust application."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as opened:
            await _start(app, settings, opened)
            yield

    return create_app("Outlet insights", lifespan)


async def _start(app: FastAPI, settings: InsightsSettings, opened: AsyncExitStack) -> None:
    producer = await opened.enter_async_context(open_producer(settings.kafka_bootstrap))
    directory = Directory()
    watch_directory(app.state.metrics, directory)
    follower = DirectoryFollower(settings.kafka_bootstrap, directory)
    observation = Observation(directory, settings.policy)
    telling = Telling(observation, producer, settings.statistics_seconds)
    datadir = opened.enter_context(TemporaryDirectory(prefix="outlet-insights-"))
    stream = _stream(settings, observation, datadir)
    all_running = await opened.enter_async_context(running(directory=follower.run()))
    await follower.caught_up.wait()
    opened.push_async_callback(_stop, stream)
    await stream.start()
    watching = running(telling=telling.run(), crash=_end_after_a_crash(stream))
    also_running = await opened.enter_async_context(watching)
    app.state.readiness = {
        "background": lambda: all_running() and also_running(),
        "stream": lambda: bool(stream.consumer.assignment()),
    }


def _stream(settings: InsightsSettings, observation: Observation, datadir: str) -> Any:
    """The Faust application: no web server, no tables, and no topics of its own, which not every broker can make."""
    app = faust.App(
        GROUP,
        broker=f"kafka://{settings.kafka_bootstrap}",
        store="memory://",
        datadir=datadir,
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        consumer_auto_offset_reset="earliest",
        broker_session_timeout=10.0,
        broker_heartbeat_interval=2.0,
    )
    summaries = app.topic(
        EXECUTIONS.name, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw"
    )

    @app.agent(summaries)
    async def observe(stream: Any) -> None:
        async for event in stream.events():
            try:
                observation.observe(event.value, event.message.timestamp, time.time())
            except Exception as error:  # noqa: BLE001  what leaves an agent ends it, and a stop would wait forever
                message = event.message
                log.error(
                    "an execution summary cannot be read",
                    partition=message.partition,
                    offset=message.offset,
                    error=repr(error),
                )

    return app


class Telling:
    """Publishes what follows from the observation: each second breakers, now and then statistics."""

    def __init__(self, observation: Observation, producer: AIOKafkaProducer, statistics_seconds: float) -> None:
        self._observation = observation
        self._producer = producer
        self._statistics_seconds = statistics_seconds

    async def run(self) -> None:
        """Publish until cancelled. While the broker is away statistics are not told; breakers are told again."""
        due = time.monotonic()
        while True:
            await asyncio.sleep(TICK_SECONDS)
            try:
                await self._tell_changes(time.time())
                if time.monotonic() >= due:
                    due = time.monotonic() + self._statistics_seconds
                    await self._tell_statistics(time.time())
            except KafkaError as error:
                log.warning("insights not published, trying again", error=repr(error))

    async def _tell_changes(self, now: float) -> None:
        for change in self._observation.changes(now):
            log.info("breaker is to change", installation=change.installation_id, to=change.state, reason=change.reason)
            key = change.installation_id.encode()
            await self._producer.send(BREAKERS.name, key=key, value=encode(change))

    async def _tell_statistics(self, now: float) -> None:
        for statistics in self._observation.statistics(now):
            key = statistics.installation_id.encode()
            await self._producer.send(STATISTICS.name, key=key, value=encode(statistics))


async def _end_after_a_crash(stream: Any) -> None:
    """A Faust application that crashed does not come back by itself: end the process, for whoever supervises it."""
    await stream.wait_first(asyncio.Event())  # until it crashes, or is stopped
    log.error("the stream has crashed", error=repr(stream.crash_reason))
    signal.raise_signal(signal.SIGTERM)
    await asyncio.Event().wait()


async def _stop(stream: Any) -> None:
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await stream.stop()
    except TimeoutError:
        log.warning("the stream did not stop in time; what it had not committed is read again")


def main() -> None:
    """Read the settings and run until SIGTERM."""
    settings = InsightsSettings()  # required values come from the environment
    serve(create_insights(settings), "insights", settings, settings.insights_port)


if __name__ == "__main__":
    main()
