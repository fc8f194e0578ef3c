"""Which versions of which plugins an installation needs, and in which order they are installed.

What is installed stays as it is: it is the only version of its plugin that is considered. Of everything else the
highest release that all accept is chosen; pre-releases only where there is no release.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import TypeAlias

from resolvelib import AbstractProvider, BaseReporter, ResolutionImpossible, ResolutionTooDeep, Resolver
from resolvelib.structs import RequirementInformation

from outlet.manifest import Dependency
from services.common.errors import Conflict
from services.registry.catalogue.versions import precedence, satisfies

MAX_ROUNDS = 2_000

Offered: TypeAlias = Mapping[str, Mapping[str, Sequence[Dependency]]]
"""By plugin id and version, what that version needs."""


@dataclass(frozen=True, slots=True)
class Needed:
    """A plugin in some range of versions, and who needs it: the chain from what is to be installed."""

    plugin_id: str
    accepted: str
    chain: tuple[str, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        return " -> ".join([*self.chain, f"{self.plugin_id} {self.accepted}"])


@dataclass(frozen=True, slots=True)
class Chosen:
    """One version of a plugin; ``installed``: it is there already."""

    plugin_id: str
    version: str
    installed: bool = False
    chain: tuple[str, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        return f"{self.plugin_id} {self.version}"


Cause: TypeAlias = RequirementInformation[Needed, Chosen]


def resolve(plugin_id: str, version: str, installed: Mapping[str, str], offered: Offered) -> list[Chosen]:
    """All that has to be there for a version of a plugin, itself last, each after what it needs.

    Raises Conflict: ``dependency_conflict`` or ``dependency_cycle``, with the chains that lead to it.
    """
    provider = _Provider({**installed}, offered, Chosen(plugin_id, version))
    try:
        found = Resolver(provider, BaseReporter()).resolve([Needed(plugin_id, f"=={version}")], MAX_ROUNDS).mapping
    except ResolutionImpossible as error:
        raise _conflict(error.causes, installed, offered) from None
    except ResolutionTooDeep:
        raise Conflict(
            f"What {plugin_id!r} needs is too entangled to be resolved.",
            code="dependency_conflict",
            remedy="Install some of the plugins that it needs first, in versions of your choice.",
        ) from None
    return _in_order(found, offered)


class _Provider(AbstractProvider[Needed, Chosen, str]):
    def __init__(self, installed: Mapping[str, str], offered: Offered, root: Chosen) -> None:
        self._installed = installed
        self._offered = offered
        self._root = root

    def identify(self, requirement_or_candidate: Needed | Chosen) -> str:
        return requirement_or_candidate.plugin_id

    def get_preference(
        self,
        identifier: str,
        resolutions: Mapping[str, Chosen],
        candidates: Mapping[str, Iterator[Chosen]],
        information: Mapping[str, Iterator[Cause]],
        backtrack_causes: Sequence[Cause],
    ) -> tuple[bool, str]:
        """What is installed leaves no choice, so it comes first; then by name, so that the same gives the same."""
        return identifier not in self._installed, identifier

    def find_matches(
        self,
        identifier: str,
        requirements: Mapping[str, Iterator[Needed]],
        incompatibilities: Mapping[str, Iterator[Chosen]],
    ) -> Iterable[Chosen]:
        needed = list(requirements[identifier])
        excluded = {each.version for each in incompatibilities[identifier]}
        chain = needed[0].chain
        if identifier == self._root.plugin_id:
            found = [self._root]
        elif identifier in self._installed:
            found = [Chosen(identifier, self._installed[identifier], True, chain)]
        else:
            found = [Chosen(identifier, version, False, chain) for version in _preferred(self._offered, identifier)]
        return [
            each
            for each in found
            if each.version not in excluded and all(self.is_satisfied_by(one, each) for one in needed)
        ]

    def is_satisfied_by(self, requirement: Needed, candidate: Chosen) -> bool:
        if not requirement.chain:  # the root, by its exact version
            return candidate.version == self._root.version
        return satisfies(candidate.version, requirement.accepted)

    def get_dependencies(self, candidate: Chosen) -> Iterable[Needed]:
        """Of what is installed nothing is asked: it was complete when it was installed."""
        if candidate.installed:
            return []
        chain = (*candidate.chain, str(candidate))
        needs = self._offered.get(candidate.plugin_id, {}).get(candidate.version, ())
        return [Needed(each.plugin_id, each.version, chain) for each in needs]


def _preferred(offered: Offered, plugin_id: str) -> list[str]:
    versions = sorted(offered.get(plugin_id, {}), key=precedence, reverse=True)
    releases = [each for each in versions if precedence(each)[3]]
    return releases or versions


def _in_order(found: Mapping[str, Chosen], offered: Offered) -> list[Chosen]:
    graph: dict[str, list[str]] = {}
    for plugin_id, chosen in found.items():
        needs = [] if chosen.installed else offered.get(plugin_id, {}).get(chosen.version, ())
        graph[plugin_id] = sorted(each.plugin_id for each in needs)
    try:
        return [found[plugin_id] for plugin_id in TopologicalSorter(graph).static_order()]
    except CycleError as error:
        cycle = [str(found[plugin_id]) for plugin_id in reversed(error.args[1])]
        raise Conflict(
            f"Plugins need each other in a circle: {' -> '.join(cycle)}.",
            code="dependency_cycle",
            remedy="None of them can be installed first; their authors have to separate them.",
            chain=cycle,
        ) from None


def _conflict(causes: Iterable[Cause], installed: Mapping[str, str], offered: Offered) -> Conflict:
    needed = sorted({each.requirement for each in causes}, key=lambda each: (each.plugin_id, each.accepted))
    chains = [str(each) for each in needed]
    there = []
    for plugin_id in dict.fromkeys(each.plugin_id for each in needed):
        if plugin_id in installed:
            there.append(f"{plugin_id} {installed[plugin_id]} is installed")
        elif plugin_id in offered:
            there.append(f"the catalogue has {plugin_id} {', '.join(_preferred(offered, plugin_id)[:10])}")
        else:
            there.append(f"the catalogue has no {plugin_id}")
    return Conflict(
        f"No versions fit together: {'; '.join([*chains, *there])}.",
        code="dependency_conflict",
        remedy="Update or remove what is installed in another version, or choose another version of the plugin.",
        chains=chains,
    )
