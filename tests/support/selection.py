"""Where each real part comes from: what the caller names, else a container, else programs on the machine."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum


class RealPart(StrEnum):
    """The parts Outlet runs on."""

    KAFKA = "kafka"
    POSTGRES = "postgres"
    REDIS = "redis"


class Source(StrEnum):
    """Who provides a part."""

    ENVIRONMENT = "environment"
    CONTAINER = "container"
    PROGRAM = "program"
    NOBODY = "nobody"


VARIABLES: Mapping[RealPart, tuple[str, ...]] = {
    RealPart.KAFKA: ("OUTLET_KAFKA_BOOTSTRAP",),
    RealPart.POSTGRES: ("OUTLET_REGISTRY_DATABASE_URL", "OUTLET_RUNTIME_DATABASE_URL"),
    RealPart.REDIS: ("OUTLET_REDIS_URL",),
}


@dataclass(frozen=True)
class Choice:
    """One part's source, and why it is not a better one."""

    source: Source
    reason: str


def choose(
    environment: Mapping[str, str],
    docker_answers: Callable[[], bool],
    missing_program: Callable[[RealPart], str | None],
) -> dict[RealPart, Choice]:
    """The source of every part. Docker is asked at most once, and only if a part needs it.

    `missing_program` says what keeps a part from running on this machine's programs, None if nothing does. Raises
    `ValueError` when only some of a part's variables are set: half a choice is a mistake, not a wish for another
    source.
    """
    named = Choice(Source.ENVIRONMENT, "named by the caller")
    choices = {part: named for part in RealPart if _named(part, environment)}
    rest = [part for part in RealPart if part not in choices]
    if rest and docker_answers():
        return choices | dict.fromkeys(rest, Choice(Source.CONTAINER, "a Docker engine answers"))
    for part in rest:
        missing = missing_program(part)
        reason = "no Docker engine answers" + (f", and {missing}" if missing else "")
        choices[part] = Choice(Source.NOBODY if missing else Source.PROGRAM, reason)
    return choices


def must_run(environment: Mapping[str, str]) -> bool:
    """Whether a test that cannot get its real parts fails, as in CI, rather than being skipped."""
    return any(environment.get(name, "").lower() not in {"", "0", "false"} for name in ("CI", "OUTLET_REQUIRE_REAL"))


def _named(part: RealPart, environment: Mapping[str, str]) -> bool:
    given = [name for name in VARIABLES[part] if environment.get(name)]
    if given and len(given) < len(VARIABLES[part]):
        raise ValueError(f"{' and '.join(given)} is set: set all of {', '.join(VARIABLES[part])}, or none")
    return bool(given)
