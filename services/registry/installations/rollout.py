"""On how many workers a state is live: from their leases, which say how far each has followed the directory."""

from services.common.errors import Unavailable
from services.common.workers import WorkerSource
from services.registry.installations.schemas import Rollout


async def rollout_of(workers: WorkerSource, revision: int) -> Rollout | None:
    """How many workers live, and how many act on everything up to ``revision``; None: that cannot be seen now."""
    try:
        known = await workers.live()
    except Unavailable:
        return None
    live = [worker for worker in known if worker.directory_revision >= revision]
    tiers = [worker.sandbox_tier for worker in known if worker.sandbox_tier is not None]
    return Rollout(workers=len(known), live=len(live), sandbox_tier=max(tiers, default=None))
