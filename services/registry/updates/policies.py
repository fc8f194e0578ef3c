"""Which updates an organization lets happen by themselves."""

from collections.abc import Collection, Iterable
from enum import StrEnum

from services.registry.catalogue.versions import precedence


class Policy(StrEnum):
    """``patch``: 1.2.3 may become 1.2.9; ``minor``: also 1.9.0; ``all``: any later release; ``manual``: nothing.

    Whatever the policy, a version that asks for more than the present one waits for somebody to agree.
    """

    MANUAL = "manual"
    PATCH = "patch"
    MINOR = "minor"
    ALL = "all"


_SAME_PARTS = {Policy.PATCH: 2, Policy.MINOR: 1, Policy.ALL: 0}


def is_release(version: str) -> bool:
    """Whether it is no pre-release (semver.org 2.0.0, section 9)."""
    return precedence(version)[3]


def choose(policy: Policy, present: str, versions: Iterable[str], skipped: Collection[str] = ()) -> str | None:
    """The highest release that may take the place of ``present`` by itself; None: there is none."""
    if policy is Policy.MANUAL:
        return None
    core, same = precedence(present), _SAME_PARTS[policy]
    fit = [
        each
        for each in versions
        if is_release(each)
        and each not in skipped
        and precedence(each) > core
        and precedence(each)[:same] == core[:same]
    ]
    return max(fit, key=precedence, default=None)
