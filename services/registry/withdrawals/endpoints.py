"""HTTP routes for taking versions back."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request

from services.common.auth import Caller, Role, require
from services.common.wire import BEARER, problems
from services.registry.reviewers import Reviewer
from services.registry.withdrawals.schemas import Reason, RevocationDocument, YankDocument
from services.registry.withdrawals.service import WithdrawalService

router = APIRouter(
    prefix="/api/plugins/marketplace/{plugin_id}/versions/{version}", tags=["withdrawals"], dependencies=[BEARER]
)


def _withdrawals(request: Request) -> WithdrawalService:
    service: WithdrawalService = request.app.state.withdrawals
    return service


Withdrawals = Annotated[WithdrawalService, Depends(_withdrawals)]
Publisher = Annotated[Caller, Depends(require(frozenset({Role.PUBLISHER})))]
Name = Annotated[str, Path(max_length=64, pattern=r"^[^\x00]+$")]

ANSWERS = problems(401, 403, 404, 422)


@router.put("/yank", responses=ANSWERS)
async def yank_version(
    caller: Publisher, withdrawals: Withdrawals, plugin_id: Name, version: Name, wanted: Reason
) -> YankDocument:
    """Take a version out of offer: nobody installs it any more, and where it is installed it goes on."""
    return await withdrawals.yank(caller, plugin_id, version, wanted.reason)


@router.delete("/yank", responses=ANSWERS)
async def offer_version_again(
    caller: Publisher, withdrawals: Withdrawals, plugin_id: Name, version: Name
) -> YankDocument:
    """Offer a yanked version again."""
    return await withdrawals.yank(caller, plugin_id, version, None)


@router.put("/revocation", responses=ANSWERS)
async def revoke_version(
    caller: Reviewer, withdrawals: Withdrawals, plugin_id: Name, version: Name, wanted: Reason
) -> RevocationDocument:
    """Stop a version in every organization, within seconds: its processes are ended, and nothing of it runs."""
    return await withdrawals.revoke(caller, plugin_id, version, wanted.reason)


@router.delete("/revocation", responses=ANSWERS)
async def lift_revocation(
    caller: Reviewer, withdrawals: Withdrawals, plugin_id: Name, version: Name
) -> RevocationDocument:
    """Let a revoked version go on: each installation has the state that it had, and the events that were kept."""
    return await withdrawals.revoke(caller, plugin_id, version, None)


@router.get("/revocation", responses=ANSWERS)
async def read_revocation(_: Reviewer, withdrawals: Withdrawals, plugin_id: Name, version: Name) -> RevocationDocument:
    """Whether a version is revoked, and on how many of the live workers that is in effect."""
    return await withdrawals.revocation(plugin_id, version)
