"""Which source each real part is taken from."""

from collections.abc import Callable

import pytest

from tests.support.selection import RealPart, Source, choose, must_run

EVERYTHING_NAMED = {
    "OUTLET_KAFKA_BOOTSTRAP": "kafka.example:9092",
    "OUTLET_REGISTRY_DATABASE_URL": "postgresql://database.example/registry",
    "OUTLET_RUNTIME_DATABASE_URL": "postgresql://database.example/runtime",
    "OUTLET_REDIS_URL": "redis://redis.example/0",
}


def never_asked() -> bool:
    pytest.fail("asked for Docker although nothing needs it")


def missing(*parts: RealPart) -> Callable[[RealPart], str | None]:
    return lambda part: f"{part} is not installed" if part in parts else None


def test_parts_named_by_the_caller_are_taken_without_looking_further() -> None:
    choices = choose(EVERYTHING_NAMED, never_asked, missing(*RealPart))
    assert {choice.source for choice in choices.values()} == {Source.ENVIRONMENT}


@pytest.mark.parametrize(("docker", "other"), [(True, Source.CONTAINER), (False, Source.PROGRAM)])
def test_each_part_is_named_on_its_own(docker: bool, other: Source) -> None:
    choices = choose({"OUTLET_REDIS_URL": "redis://redis.example/0"}, lambda: docker, missing())
    assert choices[RealPart.REDIS].source is Source.ENVIRONMENT
    assert choices[RealPart.KAFKA].source is choices[RealPart.POSTGRES].source is other


def test_containers_come_before_programs() -> None:
    choices = choose({}, lambda: True, missing())
    assert {choice.source for choice in choices.values()} == {Source.CONTAINER}


def test_programs_are_used_where_no_docker_engine_answers() -> None:
    choices = choose({}, lambda: False, missing())
    assert {choice.source for choice in choices.values()} == {Source.PROGRAM}


def test_a_part_that_nobody_provides_says_why() -> None:
    choices = choose({}, lambda: False, missing(RealPart.KAFKA))
    assert choices[RealPart.KAFKA].source is Source.NOBODY
    assert choices[RealPart.KAFKA].reason == "no Docker engine answers, and kafka is not installed"
    assert choices[RealPart.REDIS].source is Source.PROGRAM


def test_docker_is_asked_once() -> None:
    answers = iter([True])  # a second question would raise StopIteration
    choose({}, lambda: next(answers), missing())
    assert list(answers) == []


def test_one_of_two_database_urls_is_a_mistake() -> None:
    half = {"OUTLET_REGISTRY_DATABASE_URL": "postgresql://database.example/registry"}
    with pytest.raises(ValueError, match="OUTLET_RUNTIME_DATABASE_URL"):
        choose(half, never_asked, missing())


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, False),
        ({"CI": "true"}, True),
        ({"CI": "1"}, True),
        ({"CI": "false"}, False),
        ({"CI": ""}, False),
        ({"OUTLET_REQUIRE_REAL": "1"}, True),
    ],
)
def test_tests_must_run_in_ci_and_where_it_is_asked_for(environment: dict[str, str], expected: bool) -> None:
    assert must_run(environment) is expected
