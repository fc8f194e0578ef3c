"""What has to be installed with a plugin, and what cannot be."""

import re
from typing import Any

import pytest

from outlet.manifest import Dependency
from services.common.errors import Conflict
from services.registry.dependencies.resolution import resolve


def catalogue(**plugins: dict[str, dict[str, str]]) -> Any:
    """``plugin={version: {needed plugin: range}}``."""
    return {
        plugin_id: {
            version: [Dependency(plugin_id=needed, version=accepted) for needed, accepted in needs.items()]
            for version, needs in versions.items()
        }
        for plugin_id, versions in plugins.items()
    }


def names(chosen: Any) -> list[str]:
    return [f"{each}{' (installed)' if each.installed else ''}" for each in chosen]


def test_what_needs_nothing_comes_alone() -> None:
    assert names(resolve("a", "1.0.0", {}, catalogue(a={"1.0.0": {}}))) == ["a 1.0.0"]


def test_each_comes_after_what_it_needs_in_the_highest_release_that_all_accept() -> None:
    offered = catalogue(
        a={"1.0.0": {"b": ">=1", "c": "<2"}},
        b={"1.0.0": {"c": ">=1"}, "1.1.0": {"c": ">=1"}, "2.0.0-rc.1": {}},
        c={"1.0.0": {}, "1.5.0": {}, "2.0.0": {}},
    )
    assert names(resolve("a", "1.0.0", {}, offered)) == ["c 1.5.0", "b 1.1.0", "a 1.0.0"]


def test_it_goes_back_to_an_older_version_when_the_newest_does_not_fit() -> None:
    offered = catalogue(
        a={"1.0.0": {"b": ">=1", "c": "<2"}},
        b={"1.0.0": {"c": "<2"}, "2.0.0": {"c": ">=2"}},
        c={"1.0.0": {}, "2.0.0": {}},
    )
    assert names(resolve("a", "1.0.0", {}, offered)) == ["c 1.0.0", "b 1.0.0", "a 1.0.0"]


def test_what_is_installed_stays_and_asks_for_nothing() -> None:
    offered = catalogue(a={"1.0.0": {"b": ">=1"}}, b={"1.0.0": {"gone": ">=1"}, "2.0.0": {}})
    assert names(resolve("a", "1.0.0", {"b": "1.0.0"}, offered)) == ["b 1.0.0 (installed)", "a 1.0.0"]


def test_a_conflict_names_both_chains_and_what_there_is() -> None:
    offered = catalogue(
        a={"1.0.0": {"b": ">=1", "c": ">=1"}},
        b={"1.0.0": {"d": "<2"}},
        c={"1.0.0": {"d": ">=2"}},
        d={"1.0.0": {}, "2.0.0": {}},
    )
    with pytest.raises(Conflict) as refused:
        resolve("a", "1.0.0", {}, offered)
    assert refused.value.problem_code == "dependency_conflict"
    assert refused.value.members["chains"] == ["a 1.0.0 -> b 1.0.0 -> d <2", "a 1.0.0 -> c 1.0.0 -> d >=2"]
    assert "the catalogue has d 2.0.0, 1.0.0" in refused.value.detail


def test_a_conflict_with_what_is_installed_says_so() -> None:
    offered = catalogue(a={"1.0.0": {"b": ">=2"}}, b={"1.0.0": {}, "2.0.0": {}})
    with pytest.raises(Conflict, match=re.escape("a 1.0.0 -> b >=2; b 1.0.0 is installed")) as refused:
        resolve("a", "1.0.0", {"b": "1.0.0"}, offered)
    assert refused.value.members["chains"] == ["a 1.0.0 -> b >=2"]


def test_what_nobody_has_published_is_named() -> None:
    with pytest.raises(Conflict, match="the catalogue has no ghost"):
        resolve("a", "1.0.0", {}, catalogue(a={"1.0.0": {"ghost": ">=0"}}))


def test_a_circle_is_refused_with_its_chain() -> None:
    offered = catalogue(a={"1.0.0": {"b": ">=1"}}, b={"1.0.0": {"c": ">=1"}}, c={"1.0.0": {"a": ">=1"}})
    with pytest.raises(Conflict) as refused:
        resolve("a", "1.0.0", {}, offered)
    assert refused.value.problem_code == "dependency_cycle"
    chain = refused.value.members["chain"]
    assert chain[0] == chain[-1]
    assert {*chain} == {"a 1.0.0", "b 1.0.0", "c 1.0.0"}
    assert chain[chain.index("a 1.0.0") + 1] == "b 1.0.0"
