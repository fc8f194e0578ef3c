"""Starting and stopping the chosen real parts."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.containers import kafka_variables
from tests.support.real import OPENERS, Opener, open_parts, without
from tests.support.selection import VARIABLES, Choice, RealPart, Source

REDIS_URL = "redis://redis.example/0"


class Provider:
    """Stands in for containers: remembers what it started and stopped."""

    def __init__(self, *, broken: RealPart | None = None) -> None:
        self.started: list[RealPart] = []
        self.stopped: list[RealPart] = []
        self._broken = broken

    def openers(self) -> Mapping[tuple[Source, RealPart], Opener]:
        return {(Source.CONTAINER, part): self._opener(part) for part in RealPart}

    def _opener(self, part: RealPart) -> Opener:
        @asynccontextmanager
        async def opened(_: Path) -> AsyncIterator[dict[str, str]]:
            if part is self._broken:
                raise RuntimeError(f"{part} did not start")
            self.started.append(part)
            try:
                yield dict.fromkeys(VARIABLES[part], f"{part}.container")
            finally:
                self.stopped.append(part)

        return opened


CONTAINERS = dict.fromkeys(RealPart, Choice(Source.CONTAINER, "a Docker engine answers"))


async def test_started_parts_are_stopped_in_reverse_order(tmp_path: Path) -> None:
    provider = Provider()
    async with open_parts(CONTAINERS, tmp_path, environment={}, openers=provider.openers()) as parts:
        assert parts.environment() == {name: f"{part}.container" for part in RealPart for name in VARIABLES[part]}
        assert provider.stopped == []
    assert provider.stopped == provider.started[::-1] == [*RealPart][::-1]


async def test_parts_of_the_caller_are_left_alone(tmp_path: Path) -> None:
    provider = Provider()
    choices = CONTAINERS | {RealPart.REDIS: Choice(Source.ENVIRONMENT, "named by the caller")}
    environment = {"OUTLET_REDIS_URL": REDIS_URL}
    async with open_parts(choices, tmp_path, environment=environment, openers=provider.openers()) as parts:
        assert parts.redis_url == REDIS_URL
        assert parts.sources[RealPart.REDIS] is Source.ENVIRONMENT
    assert RealPart.REDIS not in provider.started


async def test_a_part_that_does_not_start_is_an_error_and_stops_the_others(tmp_path: Path) -> None:
    provider = Provider(broken=RealPart.REDIS)
    with pytest.raises(RuntimeError, match="redis did not start"):
        async with open_parts(CONTAINERS, tmp_path, environment={}, openers=provider.openers()):
            pass
    assert provider.stopped == provider.started[::-1] == [RealPart.POSTGRES, RealPart.KAFKA]


def test_every_source_that_starts_parts_can_start_each() -> None:
    assert set(OPENERS) == {(source, part) for source in (Source.CONTAINER, Source.PROGRAM) for part in RealPart}


def test_a_lacking_part_fails_the_test_in_ci() -> None:
    with pytest.raises(pytest.fail.Exception, match="no real kafka"):
        without("no real kafka", {"CI": "true"})


def test_a_lacking_part_skips_the_test_elsewhere() -> None:
    with pytest.raises(pytest.skip.Exception, match="no real kafka"):
        without("no real kafka", {})


def test_broker_settings_are_named_as_the_kafka_image_takes_them() -> None:
    variables = kafka_variables(29_092, "localhost:29092")
    assert variables["KAFKA_PROCESS_ROLES"] == "broker,controller"
    assert variables["KAFKA_ADVERTISED_LISTENERS"] == "CLIENTS://localhost:29092"
    assert variables["KAFKA_LISTENERS"] == "CLIENTS://0.0.0.0:29092,CONTROLLER://127.0.0.1:29093"
    assert variables["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
