import itertools

import pytest

from services.registry.catalogue.versions import check_range, later, precedence, satisfies

ASCENDING = [
    "0.9.9",
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-alpha.beta",
    "1.0.0-beta",
    "1.0.0-beta.2",
    "1.0.0-beta.11",
    "1.0.0-rc.1",
    "1.0.0",
    "1.0.1",
    "1.2.0",
    "1.10.0",
]  # the order of semver.org, section 11


@pytest.mark.parametrize(("lower", "higher"), [*itertools.pairwise(ASCENDING)])
def test_orders_versions_as_semver_does(lower: str, higher: str) -> None:
    assert precedence(lower) < precedence(higher)


def test_build_metadata_does_not_count() -> None:
    assert precedence("1.0.0+linux") == precedence("1.0.0+mac")


@pytest.mark.parametrize(
    ("version", "other", "chosen"),
    [("1.0.0", "2.0.0-rc.1", "1.0.0"), ("2.0.0-rc.1", "1.0.0", "1.0.0"), ("1.9.0", "1.10.0", "1.10.0")],
)
def test_a_release_is_preferred_to_a_later_pre_release(version: str, other: str, chosen: str) -> None:
    assert later(version, other) == chosen


@pytest.mark.parametrize(
    ("version", "specifiers", "fits"),
    [
        ("1.4.0", ">=1.2,<2", True),
        ("2.0.0", ">=1.2,<2", False),
        ("1.3.0-beta.1", ">=1.2", True),
        ("1.2.0-nightly", ">=1.2", False),  # a name that PEP 440 does not know
        ("1.2.0", "==1.2.*", True),
    ],
)
def test_a_range_takes_the_versions_within_it(version: str, specifiers: str, fits: bool) -> None:
    assert satisfies(version, specifiers) is fits


def test_refuses_what_is_no_range() -> None:
    with pytest.raises(ValueError, match="is no range"):
        check_range("latest")
