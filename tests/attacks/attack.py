"""What an attack is, what is seen of it from outside, and how it is judged."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.attacks.grounds import Grounds
from tests.attacks.processes import Peaks

CALM_MS = 20.0
"""A neighbour whose median call takes longer than this, and five times what it took before, was reached."""
STEADY = 20.0
"""The same as a multiple alone, for machines of which nothing is known, not even whether they have other work."""
BURNING = 0.1
"""A share of one processor that no idle plugin uses."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """One run of an attack. Only ``evidence`` is the plugin's own word; the rest was seen by the host."""

    grounds: Grounds
    evidence: Any
    """What the plugin returned, or None."""
    ending: str
    """How its call ended, in few words."""
    peaks: Peaks
    lingering: int
    """Processes of the plugin that were left when its host had hung up on it."""
    burning: bool
    """Whether it still used the processor at the end of the attack's ``hold``."""
    host_served: bool
    """Whether its host is unharmed, and the neighbour got each of its answers."""
    neighbour_answer: str
    host_mib: float
    """By how much the host grew."""
    host_descriptors: int


@dataclass(frozen=True, slots=True)
class Trial:
    """One run, judged: whether the attack had its effect, and how its call ended in few words."""

    through: bool
    ending: str


Verdict = Callable[[Sighting], bool]


@dataclass(frozen=True, slots=True)
class Attack:
    """A plugin whose one route attacks. ``body`` is the text of ``async def attack(t, api)``.

    ``through`` tells from a sighting whether the attack had its effect. ``hold`` is how long (seconds) its host waits
    after the answer; ``follow_up`` are the bytes of each of six calls that its host sends
    behind it. ``gift``: the host passes an open file along with a frame that means nothing. ``limits`` is TOML.
    ``may_be_refused``: some systems keep everybody, or containers, or all but root from it by themselves.
    """

    name: str
    group: str
    body: str
    through: Verdict
    hold: float = 0.0
    follow_up: int = 0
    gift: bool = False
    may_be_refused: bool = False
    machines: tuple[str, ...] = ("x86_64", "aarch64")
    limits: str = ""


@dataclass(frozen=True, slots=True)
class Pace:
    """The neighbour's median no-op call, in milliseconds, before, during and after an attack."""

    before: float
    during: float
    after: float

    @property
    def calm(self) -> bool:
        """Whether the neighbour noticed nothing worth the name."""
        return self.during <= max(CALM_MS, 5 * self.before)

    @property
    def steady(self) -> bool:
        """Whether it was not held up by a multiple that no other work of the machine explains."""
        return self.during <= STEADY * max(self.before, self.after)


def told(secret: str) -> Verdict:
    """The plugin came back with a secret of the grounds, by its name."""
    return lambda seen: seen.grounds.secrets[secret] in json.dumps(seen.evidence)


def returned(*values: Any) -> Verdict:
    """The plugin came back with one of ``values``: what the kernel told it, where nothing can be seen from outside."""
    return lambda seen: seen.evidence in values


def host_harmed(seen: Sighting) -> bool:
    """The host died, hangs, or leaves the neighbour without an answer."""
    return not seen.host_served


def host_grew(mib: int) -> Verdict:
    """The host took so much memory because of it, or was harmed outright."""
    return lambda seen: seen.host_mib >= mib or not seen.host_served


def reached(listener: str) -> Verdict:
    """Something arrived at a listener of the grounds."""
    return lambda seen: seen.grounds.arrivals[listener] > 0


def on_grounds(check: Callable[[Grounds], bool]) -> Verdict:
    """The host finds the grounds changed."""
    return lambda seen: check(seen.grounds)


def peak(check: Callable[[Peaks], bool]) -> Verdict:
    """The plugin's processes took more than they should have."""
    return lambda seen: check(seen.peaks)
