"""How far a roll-out is, what its stores did in the new version, and what follows from it."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from services.registry.installations.publication import breaker_of
from services.registry.rollouts.models import Rollout, RolloutMember
from services.registry.rollouts.repository import Member

Step: TypeAlias = Literal["update", "watch", "next-stage", "complete", "roll-back"]


@dataclass(frozen=True, slots=True)
class Figures:
    """Of the stores that were updated: their hooks since then, and how many of them do not work in the new version."""

    tried: int
    broken: int
    runs: int
    errors: int

    @property
    def rate(self) -> float:
        """The share of hooks that failed; 0 while none ran."""
        return self.errors / self.runs if self.runs else 0.0


def in_order(plugin_id: str, version: str, stores: Iterable[tuple[str, str]]) -> list[str]:
    """Ids of ``(id, store)`` in an order that is the same each time and differs from version to version."""

    def place(each: tuple[str, str]) -> bytes:
        return hashlib.sha256(f"{plugin_id}/{version}/{each[1]}".encode()).digest()

    return [identity for identity, _ in sorted(stores, key=place)]


def stage_of(rollout: Rollout, members: Sequence[Member]) -> list[Member]:
    """The members that are to have the version by now: at least one, and all at 100 percent."""
    return list(members[: -(-len(members) * rollout.percents[rollout.stage] // 100)])  # rounded up


def figures(members: Iterable[Member]) -> Figures:
    """What those that were tried did since."""
    tried = [(member, installation) for member, installation in members if member.state in ("updated", "failed")]
    watched = [each for each in tried if each[0].state == "updated"]
    stopped = sum(breaker_of(installation).state != "closed" for _, installation in watched)
    return Figures(
        tried=len(tried),
        broken=len(tried) - len(watched) + stopped,
        runs=sum(max(0, installation.hook_runs - member.base_runs) for member, installation in watched),
        errors=sum(max(0, installation.hook_errors - member.base_errors) for member, installation in watched),
    )


def breach(rollout: Rollout, found: Figures) -> str | None:
    """Why the error budget is used up; None: it is not."""
    if found.tried and found.broken / found.tried > rollout.error_rate:
        return f"{found.broken} of {found.tried} stores do not work in version {rollout.version}"
    if found.runs >= max(1, rollout.minimum_runs) and found.rate > rollout.error_rate:
        return f"{found.errors} of {found.runs} hooks failed in version {rollout.version}"
    return None


def next_step(rollout: Rollout, members: Sequence[Member], now: datetime) -> tuple[Step, str | None]:
    """What is to be done now, and why."""
    stage, found = stage_of(rollout, members), figures(members)
    why = breach(rollout, found)
    if rollout.state == "rolling-back" or why is not None:
        return "roll-back", why or rollout.reason
    if any(member.state == "waiting" for member, _ in stage):
        return "update", None
    watched_until = _last_update(stage) + timedelta(seconds=rollout.window_seconds) if _any_updated(stage) else now
    if now < watched_until:
        return "watch", f"is watched until {watched_until.isoformat(timespec='seconds')}"
    if found.runs < rollout.minimum_runs and _any_updated(stage):
        return "watch", f"waits for {rollout.minimum_runs - found.runs} more hooks to judge by"
    return ("complete" if rollout.stage + 1 == len(rollout.percents) else "next-stage"), None


def _any_updated(stage: Iterable[Member]) -> bool:
    return any(_updated(member) for member, _ in stage)


def _last_update(stage: Iterable[Member]) -> datetime:
    return max(member.updated_at for member, _ in stage if _updated(member) and member.updated_at is not None)


def _updated(member: RolloutMember) -> bool:
    return member.state == "updated" and member.updated_at is not None
