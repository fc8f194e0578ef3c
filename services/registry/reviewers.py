"""Who reviews: people of the platform's operator, with the role `reviewer`."""

from typing import Annotated

from fastapi import Depends, Request

from services.common.auth import Caller, Role, require
from services.common.errors import Forbidden


def check_operator(request: Request, reviewer: Caller) -> None:
    """Raises Forbidden (``wrong_organization``) for a reviewer who is not of the operator that was named."""
    operator: str | None = request.app.state.operator_organization
    if operator is not None and reviewer.organization != operator:
        raise Forbidden("Only reviewers of the platform's operator decide on plugins.", code="wrong_organization")


async def _reviewer(
    request: Request, caller: Annotated[Caller, Depends(require(frozenset({Role.REVIEWER})))]
) -> Caller:
    check_operator(request, caller)
    return caller


Reviewer = Annotated[Caller, Depends(_reviewer)]
