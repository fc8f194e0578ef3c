"""Real Apache Kafka, PostgreSQL and Redis for the tests that need them."""

import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest

from tests.support.containers import docker_answers, kafka_container, postgres_container, redis_container
from tests.support.programs import kafka_program, missing_program, postgres_program, redis_program
from tests.support.selection import VARIABLES, Choice, RealPart, Source, choose, must_run

Opener = Callable[[Path], AbstractAsyncContextManager[dict[str, str]]]


@dataclass(frozen=True)
class RealParts:
    """Addresses of running real parts, and who provides each."""

    kafka_bootstrap: str
    registry_database_url: str
    runtime_database_url: str
    redis_url: str
    sources: Mapping[RealPart, Source]

    def environment(self) -> dict[str, str]:
        """The variables that make Outlet's processes use these parts."""
        return {
            "OUTLET_KAFKA_BOOTSTRAP": self.kafka_bootstrap,
            "OUTLET_REGISTRY_DATABASE_URL": self.registry_database_url,
            "OUTLET_RUNTIME_DATABASE_URL": self.runtime_database_url,
            "OUTLET_REDIS_URL": self.redis_url,
        }


OPENERS: Mapping[tuple[Source, RealPart], Opener] = {
    (Source.CONTAINER, RealPart.KAFKA): kafka_container,
    (Source.CONTAINER, RealPart.POSTGRES): postgres_container,
    (Source.CONTAINER, RealPart.REDIS): redis_container,
    (Source.PROGRAM, RealPart.KAFKA): kafka_program,
    (Source.PROGRAM, RealPart.POSTGRES): postgres_program,
    (Source.PROGRAM, RealPart.REDIS): redis_program,
}


@asynccontextmanager
async def open_parts(
    choices: Mapping[RealPart, Choice],
    directory: Path,
    *,
    environment: Mapping[str, str],
    openers: Mapping[tuple[Source, RealPart], Opener] = OPENERS,
) -> AsyncIterator[RealParts]:
    """Start what `choices` asks for, with data below `directory`, and stop it at the end.

    Parts that the caller named in `environment` are neither started nor stopped.
    """
    variables: dict[str, str] = {}
    async with AsyncExitStack() as running:
        for part, choice in choices.items():
            if choice.source is Source.ENVIRONMENT:
                variables |= {name: environment[name] for name in VARIABLES[part]}
            else:
                opener = openers[choice.source, part]
                variables |= await running.enter_async_context(opener(directory / part))
        yield RealParts(
            kafka_bootstrap=variables["OUTLET_KAFKA_BOOTSTRAP"],
            registry_database_url=variables["OUTLET_REGISTRY_DATABASE_URL"],
            runtime_database_url=variables["OUTLET_RUNTIME_DATABASE_URL"],
            redis_url=variables["OUTLET_REDIS_URL"],
            sources={part: choice.source for part, choice in choices.items()},
        )


def without(lacking: str, environment: Mapping[str, str]) -> NoReturn:
    """End a test that lacks a real part: in CI it fails, elsewhere it is skipped, with `lacking` as the reason."""
    if must_run(environment):
        pytest.fail(lacking)
    # A laptop with Python alone must be able to run the rest of the suite. CI never comes here: it fails above.
    pytest.skip(lacking)


def sources(environment: Mapping[str, str]) -> dict[RealPart, Choice]:
    """The source of every part in this run; ends the test when nobody provides one."""
    choices = choose(environment, docker_answers, missing_program)
    lacking = [f"no real {part}: {choice.reason}" for part, choice in choices.items() if choice.source is Source.NOBODY]
    if lacking:
        without("; ".join(lacking), environment)
    return choices


@pytest.fixture(scope="session")
async def real_parts(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RealParts]:
    """Real parts shared by the whole test run; a test that uses them carries the marker ``real``.

    They are not emptied between tests: use organizations, topics and keys of your own. A test that stops or breaks a
    part starts one for itself, from `deploy.local`.
    """
    directory = tmp_path_factory.mktemp("real")
    async with open_parts(sources(os.environ), directory, environment=os.environ) as parts:
        yield parts
