"""Versions of plugins: semantic versions (semver.org 2.0.0) and the ranges that dependencies ask for (PEP 440)."""

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

Precedence = tuple[int, int, int, bool, tuple[tuple[bool, int, str], ...]]


def precedence(version: str) -> Precedence:
    """A sort key: the order of semver section 11; build metadata does not count."""
    core, _, rest = version.partition("+")[0].partition("-")
    major, minor, patch = (int(number) for number in core.split("."))
    return major, minor, patch, not rest, tuple(_identifier(text) for text in rest.split(".") if rest)


def _identifier(text: str) -> tuple[bool, int, str]:
    return (False, int(text), "") if text.isascii() and text.isdigit() else (True, 0, text)


def later(version: str, other: str) -> str:
    """The version that a user who names none should get: a release before any pre-release, then the higher one."""
    return max(version, other, key=lambda each: (precedence(each)[3], precedence(each)))


def check_range(specifiers: str) -> None:
    """Raises ValueError when ``specifiers`` is no range such as ``>=1.2,<2``."""
    try:
        SpecifierSet(specifiers)
    except InvalidSpecifier:
        raise ValueError(f"{specifiers!r} is no range of versions such as >=1.2,<2") from None


def satisfies(version: str, specifiers: str) -> bool:
    """Whether ``version`` lies in a range that :func:`check_range` accepted; pre-releases may."""
    try:
        found = Version(version)
    except InvalidVersion:  # a pre-release that PEP 440 has no name for counts as the earliest of its release
        found = Version(version.partition("+")[0].partition("-")[0] + ".dev0")
    return SpecifierSet(specifiers).contains(found, prereleases=True)
